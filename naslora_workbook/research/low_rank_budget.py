"""Where full fine-tuning's gain goes: into the rank, into which Linears, or into the steps.

Lesson 05's data and settings, three seeds. The script that trained them is at the commit that
stands in the records.
"""

from naslora_workbook.results.records import recorded


def recorded_budget() -> tuple[dict[str, list[float]], dict]:
    """The recorded table, row -> test Dice by seed, and its provenance."""
    records, table = recorded("variants/low_rank_budget"), {}
    for record in records:
        table.setdefault(record["row"], []).append(record["dice"])
    return table, records[0]["provenance"]
