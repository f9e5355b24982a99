"""A record names the commit of the code that made it."""

import subprocess

from naslora_workbook.research.provenance import commit


def git(root, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", "-C", root, *who, *words], check=True, capture_output=True)
    return done.stdout.decode().strip()


def test_a_commit_is_marked_where_code_or_lessons_changed_and_no_record_alone(tmp_path):
    for name in ("naslora_core", "naslora_workbook/results", "notebooks/text"):
        (tmp_path / name).mkdir(parents=True)
    code, record = tmp_path / "naslora_core" / "a.py", tmp_path / "naslora_workbook/results/a.json"
    lesson = tmp_path / "notebooks" / "text" / "00_a.py"
    for file in (code, record, lesson):
        file.write_text("1")
    assert commit(tmp_path) == "unknown"
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "a")
    made = git(tmp_path, "rev-parse", "HEAD")[:10]
    record.write_text("2")
    (tmp_path / "README.md").write_text("2")
    assert commit(tmp_path) == made
    for file in (code, lesson):
        file.write_text("2")
        assert commit(tmp_path) == f"{made}+"
        file.write_text("1")
    (tmp_path / "naslora_core" / "new.py").write_text("1")
    assert commit(tmp_path) == f"{made}+"


def test_a_package_in_the_environment_of_another_project_does_not_take_its_commit(tmp_path):
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-qm", "a", "--allow-empty")
    installed = tmp_path / ".venv" / "lib"
    installed.mkdir(parents=True)
    assert commit(installed) == "unknown"


def test_without_git_nothing_fails(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert commit(tmp_path) == "unknown"
    monkeypatch.setenv("NASLORA_COMMIT", "0123456789")  # of a copy on a cluster
    assert commit(tmp_path) == "0123456789"
