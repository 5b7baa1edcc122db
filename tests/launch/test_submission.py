import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from launch.submission import DamagedRecordError, LaunchFolder, Submission, unsafe

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
    ("mode", "inside", "safe"),
    [
        (0o700, 0o666, True),  # whom the folder keeps out, no file inside lets in
        (0o755, 0o644, True),
        (0o755, 0o664, False),
        (0o755, 0o646, False),
        (0o775, 0o600, False),
        (0o757, 0o600, False),
    ],
)
def test_what_others_can_write_is_unsafe(tmp_path: Path, mode: int, inside: int, safe: bool) -> None:
    (tmp_path / "12_submitted.pkl").touch()
    (tmp_path / "12_submitted.pkl").chmod(inside)
    (tmp_path / "link").symlink_to("12_submitted.pkl")  # whose own mode means nothing
    tmp_path.chmod(mode)
    found = unsafe(tmp_path)
    assert (
        found is None if safe else (found and "can be written by others (mode " in found and "chmod go-w it" in found)
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away, as root alone may")
@pytest.mark.parametrize(("given", "mode"), [(".", 0o700), (".", 0o755), ("12_submitted.pkl", 0o755), ("link", 0o755)])
def test_what_belongs_to_another_is_unsafe_also_behind_a_link(tmp_path: Path, given: str, mode: int) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "12_submitted.pkl").touch()
    (folder / "link").symlink_to("12_submitted.pkl")
    (tmp_path / "linked").symlink_to(folder)
    folder.chmod(mode)
    assert unsafe(folder) is None
    os.chown(folder / given, 4711, 4711, follow_symlinks=False)
    for place in (folder, tmp_path / "linked"):
        assert "belongs to another user (uid 4711)" in str(unsafe(place))


def test_a_file_where_a_run_is_expected_was_never_submitted(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.touch()
    assert LaunchFolder(file).submission() is None
