"""What a page of the book makes of a lesson: folds, admonitions, links, terms, alt texts."""

import nbformat
import pytest
from lessons import LESSONS, NAMES, read
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from naslora_workbook.publishing import book_pages
from naslora_workbook.publishing.book import page_of
from naslora_workbook.publishing.lesson import SETUP_CELL, Lesson, by_section

TERMS = {"rank": "rank", "fold": "fold", "box prompt": "box prompt"}


def ran(source: str):
    return new_code_cell(source, outputs=[new_output("stream", text="said")], execution_count=1)


def tags_of(*cells) -> list[list[str]]:
    page = page_of(new_notebook(cells=list(cells)), set(), {})
    return [c.metadata.get("tags", []) for c in page.cells if c.cell_type == "code"]


def text_of(source: str, built=("05_lora",), terms=()) -> str:
    return book_pages.prose(source, set(built), {t: TERMS[t] for t in terms})


def test_set_up_and_imports_fold_and_other_cells_stay_open():
    imports = "import math\nfrom statistics import (\n    median,\n)"
    found = tags_of(ran(SETUP_CELL), ran(imports), ran("import math\nmath.pi"))
    assert found == [["hide-cell"], ["hide-cell"], []]


def test_results_wait_for_the_prediction_up_to_the_sentence_that_tells_them():
    asks = new_markdown_cell("## One\n\n> **Predict first.** How much?")
    found = tags_of(ran("0"), asks, ran("1"), ran("2"), new_markdown_cell("It is 1."), ran("3"))
    assert found == [[], ["hide-output"], ["hide-output"], []]


def test_a_prediction_is_an_admonition_and_a_fold_is_a_dropdown():
    assert ":class: hint\n\nHow much?\nTwice?" in text_of(
        "> **Predict first.** How much?\n> Twice?"
    )
    folded = text_of("<details><summary>Hint 1</summary>\n\n`x`\n\n</details>")
    assert folded == ":::::{dropdown} Hint 1\n\n`x`\n\n:::::"


def test_links_stay_in_the_book_where_their_page_is_built():
    assert text_of("[a](05_lora.ipynb#The-Rank)") == "[a](05_lora.ipynb#the-rank)"
    assert text_of("[a](06_x.ipynb)").endswith("/blob/main/notebooks/06_x.ipynb)")
    assert text_of("[a](GLOSSARY.md#rank)") == "[a](glossary.md#rank)"
    assert text_of("[a](../naslora_workbook/results/README.md)") == "[a](results.md)"
    assert text_of("[a](../setup.py)").endswith("/blob/main/setup.py)")
    assert text_of("[a](https://x.org/a)") == "[a](https://x.org/a)"


def test_a_term_is_linked_once_and_only_in_sentences():
    text = "## rank\n\n`rank` and $rank$; a low-rank path, the rank, the rank. A box prompt."
    linked = text_of(text, terms=("rank", "box prompt"))
    assert linked.count("{term}") == 2
    assert "the {term}`rank <rank>`, the rank. A {term}`box prompt <box prompt>`." in linked


def test_the_glossary_is_a_list_of_terms():
    text = "# Glossary\n\nWords.\n\n**arch_alpha** · A vector.\n\n**budget (of steps)** · Steps."
    assert book_pages.glossary_terms(text) == {
        "arch_alpha": "arch_alpha",
        "budget": "budget (of steps)",
    }
    assert "{glossary}\narch_alpha\n  A vector.\n\nbudget (of steps)\n" in book_pages.glossary_page(
        text
    )


def test_a_card_has_the_lessons_question_and_minutes(tmp_path):
    cells = [new_markdown_cell("**The question:** how\nmuch?"), new_markdown_cell("word " * 1200)]
    notebook = new_notebook(cells=cells)
    nbformat.write(notebook, tmp_path / "05_lora.ipynb")
    index = book_pages.index_page({Lesson(tmp_path / "05_lora.ipynb"): notebook}, tmp_path)
    assert "How much?" in index and "about 10 minutes" in index and ":link: 05_lora" in index


def test_minutes_leave_out_hints_imports_and_the_cells_of_exercises():
    words = "word " * 300
    exercise = f"{words}\n\n### Exercise 5.1 - one\n8 minutes · use\n\n<details>{words}</details>"
    cells = [new_markdown_cell("# T"), ran("import math"), new_markdown_cell("## One"), ran("1")]
    cells += [new_markdown_cell(exercise), ran('raise NotImplementedError("Exercise 5.1")')]
    cells += [
        ran("checks.ex_5_1(f)"),
        new_markdown_cell("> **Predict first.** How much?"),
        ran("2"),
    ]
    cells += [new_markdown_cell("## Recap\n\nEnd.\n\n## In practice\n\nMore.")]
    found = {n: round(m) for n, m in by_section(new_notebook(cells=cells)).items()}
    assert found == {"opening": 0, "One": 3, "Exercise 5.1 - one": 11, "end": 0}


@pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)
def test_the_results_of_every_prediction_are_folded(lesson):
    asked, waits = "", True
    for cell in page_of(read(lesson), set(), {}).cells:
        if cell.cell_type == "markdown":
            assert waits, asked
            asked, waits = cell.source, "{admonition} Predict first" not in cell.source
        waits = waits or "hide-output" in cell.metadata.get("tags", [])
    assert waits, asked
