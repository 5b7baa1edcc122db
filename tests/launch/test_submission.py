import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from launch.submission import DamagedRecordError, LaunchFolder, Submission

SUBMISSION = Submission(
    job="12_3", kind="local", time=1.5, log="/l", code="/c", commit="abc+", request={"nodes": 2}, site={"data": "/d"}
)


@pytest.fixture
def folder(tmp_path: Path) -> LaunchFolder:
    made = LaunchFolder(tmp_path / "r")
    made.make()
    return made


def test_a_submission_is_read_back_and_the_last_one_counts(folder: LaunchFolder) -> None:
    assert folder.submission() is None
    for submission in (SUBMISSION, replace(SUBMISSION, job="13")):
        folder.record(submission)
        assert folder.submission() == submission


@pytest.mark.parametrize("content", ["", "null", "[]", "{}", '{"schema": 1, "job": "12"}'])
def test_a_damaged_submission_is_named_with_the_mend(folder: LaunchFolder, content: str) -> None:
    (folder.path / "submission.json").write_text(content)
    with pytest.raises(
        DamagedRecordError, match=r"launch/submission\.json: cannot be read .*; remove it and submit again"
    ):
        folder.submission()


def test_a_newer_submission_is_refused_and_a_field_that_is_not_known_is_passed_over(folder: LaunchFolder) -> None:
    file = folder.path / "submission.json"
    folder.record(SUBMISSION)
    file.write_text(json.dumps({**json.loads(file.read_text()), "colour": "red"}))
    assert folder.submission() == SUBMISSION
    file.write_text(json.dumps({"schema": 2}))
    with pytest.raises(
        DamagedRecordError, match=r"submission\.json: schema 2, .* up to 1; .*, or remove it and submit"
    ):
        folder.submission()


def test_only_the_job_that_was_cancelled_stays_cancelled(folder: LaunchFolder) -> None:
    assert not folder.is_cancelled("12_3")
    folder.cancel("12_3")
    assert folder.is_cancelled("12_3")
    assert not folder.is_cancelled("12")


@pytest.mark.parametrize("mode", [0o777, 0o755, 0o700])
def test_the_folder_is_its_owners_alone_whatever_it_was(tmp_path: Path, mode: int) -> None:
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch").chmod(mode)
    LaunchFolder(tmp_path).make()
    assert (tmp_path / "launch").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("mode", "inside", "is_ours"),
    [
        (0o700, 0o666, True),  # whom the folder keeps out, no file inside lets in
        (0o755, 0o644, True),
        (0o755, 0o666, False),
        (0o755, 0o646, False),
        (0o777, 0o600, False),
        (0o757, 0o600, False),
    ],
)
def test_what_others_could_have_written_is_read_but_not_acted_upon(
    folder: LaunchFolder, mode: int, inside: int, is_ours: bool
) -> None:
    folder.record(SUBMISSION)
    (folder.path / "submission.json").chmod(inside)
    folder.path.chmod(mode)
    assert folder.submission() == SUBMISSION
    if is_ours:
        assert folder.submission(acts=True) == SUBMISSION
        return
    fix = f"submission.json can be written by others; if what it says is yours: chmod go-w {folder.path} "
    with pytest.raises(DamagedRecordError, match=fix):
        folder.submission(acts=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away, as root alone may")
@pytest.mark.parametrize(("given", "mode"), [("", 0o700), ("", 0o755), ("submission.json", 0o755)])
def test_what_belongs_to_another_is_not_acted_upon_also_behind_a_link(
    folder: LaunchFolder, tmp_path: Path, given: str, mode: int
) -> None:
    folder.record(SUBMISSION)
    folder.path.chmod(mode)
    os.chown(folder.path / given, 4711, 4711)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "launch").symlink_to(folder.path)
    for place in (folder, LaunchFolder(tmp_path / "linked")):
        assert place.submission() == SUBMISSION
        with pytest.raises(DamagedRecordError, match=r"belongs to another user \(uid 4711\); not used"):
            place.submission(acts=True)


def test_a_file_where_a_run_is_expected_was_never_submitted(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.touch()
    assert LaunchFolder(file).submission() is None
