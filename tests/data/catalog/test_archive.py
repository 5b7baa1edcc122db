import gzip
import io
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from data.catalog.archive import MOST_BEHIND_MB, MOST_MEMBER, ArchiveError, Member, drain, members, plain, unzipped
from tests.data.archives import tar

END = bytes(1024)
FILES = {"a.JPEG": b"x" * 700, "b.JPEG": b"", "folder/c.JPEG": b"y" * 512}


def info(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header, b""


def listed(content: bytes, start: int = 0) -> list[Member]:
    stream = io.BytesIO(content)
    stream.seek(start)
    return list(members(stream, "x.tar", len(content)))


FORMS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
NAMES = {
    "käse/日本.png": b"x",
    "with blank/x y.cls": b"1",
    f"{'folder/' * 12}{'x' * 80}.jpg": b"in two fields of a header",
    "bytes that are no text \udcff.jpg": b"z",
}
LONG = {"x" * 300 + ".jpg": b"longer than any header"}


@pytest.mark.parametrize("form", FORMS)
def test_every_name_is_found_as_it_was_given(form: int) -> None:
    files = NAMES if form == tarfile.USTAR_FORMAT else NAMES | LONG
    content = tar(files, form)
    assert {name: content[offset : offset + size] for name, offset, size in listed(content)} == files


def test_an_archive_without_a_magic_word_is_read() -> None:
    """As in 1979: the checksum alone tells a header."""
    header = bytearray(tarfile.TarInfo("old.jpg").tobuf(tarfile.USTAR_FORMAT))
    header[257:265] = bytes(8)
    assert listed(summed(header) + END) == [Member("old.jpg", 512, 0)]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_contents_are_passed_over_unread_even_ten_gigabytes(tmp_path: Path, form: Literal[1, 2]) -> None:
    info, small = tarfile.TarInfo("large.jpg"), tar({"small.jpg": b"abc"})
    info.size = large = 10 * 2**30 + 5
    with (tmp_path / "x.tar").open("wb") as file:  # a hole: takes no space on disk
        start = file.write(info.tobuf(form))
        end = file.seek(start + large - large % -512)
        file.write(small)
    begin = time.process_time()
    assert list(plain(tmp_path / "x.tar")) == [
        Member("large.jpg", start, large),
        Member("small.jpg", end + 512, 3),
    ]
    assert time.process_time() - begin < 0.5


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("start", [0, 512, 8192])
def test_members_lie_where_it_says_also_in_an_archive_within_another(form: int, start: int) -> None:
    long = {f"{'long' * 20}/{'n' * 90}.JPEG": b"z" * 3}
    content = bytes(start) + tar(FILES | long, form)
    found = listed(content, start)
    assert {name: content[offset : offset + size] for name, offset, size in found} == FILES | long


def test_folders_and_a_leading_dot_are_no_matter() -> None:
    content = tar([info("./", tarfile.DIRTYPE), info("./a.JPEG"), info("./b", tarfile.DIRTYPE), info("./b/c.JPEG")])
    assert [member.name for member in listed(content)] == ["a.JPEG", "b/c.JPEG"]


REFUSED = [
    ([info("../a.JPEG")], "../a.JPEG leads out of the folder"),
    ([info("/etc/passwd")], "/etc/passwd leads out of the folder"),
    ([info("b/../../a.JPEG")], "b/../../a.JPEG leads out of the folder"),
    ([info(".//etc/passwd")], ".//etc/passwd leads out of the folder"),
    ([info("b/./a.JPEG")], "b/./a.JPEG leads out of the folder"),
    ([info("..")], ".. leads out of the folder"),
    ([info("a", tarfile.SYMTYPE, "/etc")], "a is a symbolic link; refused"),
    ([info("a", tarfile.LNKTYPE, "../b")], "a is a hard link; refused"),
    ([info("a", tarfile.CHRTYPE)], "a is a device; refused"),
    ([info("a", tarfile.BLKTYPE)], "a is a device; refused"),
    ([info("a", tarfile.FIFOTYPE)], "a is a pipe; refused"),
    ([info("a", tarfile.GNUTYPE_SPARSE)], "a is something else than a file; refused"),
    ([info("a"), info("b"), info("a")], "a is in it twice; refused"),
    ([info("a"), info("./a")], "./a is in it twice; refused"),
]


@pytest.mark.parametrize(("headers", "reason"), REFUSED)
def test_what_would_write_elsewhere_is_refused_by_name(
    headers: list[tuple[tarfile.TarInfo, bytes]], reason: str
) -> None:
    with pytest.raises(ArchiveError, match=f"^x.tar: {reason}"):
        listed(tar([info("good.JPEG"), *headers, info("other.JPEG")]))


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    """Up to the mark of the end; what follows it is filling."""
    content = tar(FILES)
    end = 512 + 1024 + 512 + 512 + 512 + 512
    for length in [*range(0, end, 128), 513, 1023, 1535, end - 1]:
        (tmp_path / "cut.tar").write_bytes(content[:length])
        with pytest.raises(ArchiveError, match=r"cut\.tar: .*copy or download it again"):
            list(plain(tmp_path / "cut.tar"))
    (tmp_path / "cut.tar").write_bytes(content[:end])
    assert len(list(plain(tmp_path / "cut.tar"))) == 3


def test_an_inner_archive_does_not_go_on_into_the_next() -> None:
    """Without its mark of the end it would, and count the other's files."""
    inner = tar({"a.JPEG": b"x"})[:1024]
    outer = inner + tar({"b.JPEG": b"y"})
    with pytest.raises(ArchiveError, match="the archive ends before this file does"):
        list(members(io.BytesIO(outer), "a.tar", len(inner)))
    with pytest.raises(ArchiveError, match="the mark of its end is missing"):
        list(members(io.BytesIO(inner + bytes(1024)), "a.tar", len(inner)))


def test_a_damaged_header_is_not_taken_for_the_end() -> None:
    content = bytearray(tar(FILES))
    content[512 + 1024 + 10] ^= 1  # in the name of the second file
    with pytest.raises(ArchiveError, match="damaged one: bad checksum"):
        listed(bytes(content))


SIZE, KIND = slice(124, 136), slice(156, 157)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (SIZE, b"hello world\0", "invalid header"),
        (SIZE, b"-0000000001\0", "b.jpg has a negative size|invalid offset"),
        (KIND, b"S", "b.jpg is something else than a file"),
        (slice(0, 512), b"\xff\xd8" * 256, "bad checksum|invalid header"),
    ],
)
def test_a_header_of_nonsense_is_told(place: slice, value: bytes, reason: str) -> None:
    second = bytearray(tar({"b.jpg": b""})[:512])
    second[place] = value
    bad = summed(second) if len(value) < 512 else bytes(second)
    with pytest.raises(ArchiveError, match=rf"x\.tar: .*({reason})"):
        listed(tar({"a.jpg": b"1"})[:1024] + bad + END)


@pytest.mark.parametrize("text", [b"0 path=a\n", b"10 size=-1\n", b"11 size=-13\n"])
def test_an_extension_of_nonsense_is_told(text: bytes) -> None:
    extension = bytearray(tar({"pax": text})[:1024])
    extension[KIND] = b"x"
    bad = summed(extension[:512]) + extension[512:]
    with pytest.raises(ArchiveError, match=r"x\.tar: no tar archive, or a damaged one"):
        listed(tar({"a.jpg": b"1"})[:1024] + bad + tar({"b.jpg": b"1"}))


def extension(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, len(content) if size is None else size
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (extension(b"L", b"name", 1 << 32), "4,294,967,296 bytes of attributes"),
        (extension(b"x", b"", 1 << 32), "4,294,967,296 bytes of attributes"),
        (extension(b"L", b"name") * 3000, "maximum recursion depth"),
        (extension(b"x", b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"), "(invalid literal|not enough values)"),
    ],
    ids=["long name", "many attributes", "thousands of names", "sparse"],
)
def test_headers_that_no_program_writes_take_no_memory(headers: bytes, reason: str) -> None:
    with pytest.raises(ArchiveError, match=rf"x\.tar: no tar archive, or a damaged one: .*{reason}"):
        listed(headers + tar({"b.jpg": b"\xff\xd8" * 512}))


@pytest.mark.parametrize("content", [gzip.compress(os.urandom(2000)), b"\xff\xd8\xff\xe0" + bytes(600), b""])
def test_what_is_no_archive_is_told_with_the_mend(content: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"x\.tar: no tar archive.*; unpack it if it is compressed, or copy or down"):
        listed(content)


def summed(header: bytearray) -> bytes:
    """A header with its checksum put right."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    with unzipped(path) as stream:
        for member in members(stream, str(path)):
            yield member.name, stream.read(member.size)
        drain(stream)


def test_a_gzip_file_does_not_unpack_to_all_there_is(tmp_path: Path) -> None:
    file = tmp_path / "x.tgz"
    header = tarfile.TarInfo("zeros")
    header.size = MOST_MEMBER + 1
    file.write_bytes(gzip.compress(header.tobuf() + bytes(1024)))
    with pytest.raises(ArchiveError, match=r"x\.tgz: zeros: unpacks to more than any such archive"):
        dict(contents(file))
    with gzip.open(file, "wb", compresslevel=1) as stream:
        stream.write(tar(FILES))
        for _ in range(MOST_BEHIND_MB + 1):
            stream.write(bytes(1 << 20))
    with pytest.raises(ArchiveError, match=r"x\.tgz: goes on behind the end of the archive"):
        dict(contents(file))


def test_members_of_a_gzip_file_are_read_while_they_are_listed(tmp_path: Path) -> None:
    (tmp_path / "x.tgz").write_bytes(gzip.compress(tar(FILES)))
    assert dict(contents(tmp_path / "x.tgz")) == FILES


def spoil(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :]


@pytest.mark.parametrize("damage", ["half", "tail", "checksum", "middle", "no gzip"])
def test_a_gzip_file_that_is_cut_or_damaged_is_refused(tmp_path: Path, damage: str) -> None:
    whole = gzip.compress(tar(FILES | {"d": bytes(range(256)) * 40}))
    broken = {
        "half": whole[: len(whole) // 2],
        "tail": whole[:-1],
        "checksum": spoil(whole, -8 + len(whole)),
        "middle": spoil(whole, len(whole) // 2),
        "no gzip": tar(FILES),
    }
    (tmp_path / "x.tgz").write_bytes(broken[damage])
    with pytest.raises(ArchiveError, match=r"x\.tgz: no .*, or a damaged one: .*copy or download it again"):
        dict(contents(tmp_path / "x.tgz"))
