"""Documents without a browser: passages and their places, encodings, and the names of files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from studio.shell.files import (
    Document,
    encodings,
    file_name,
    fitting,
    is_binary,
    is_photo,
    not_read,
    split,
)


def test_passages_end_after_a_paragraph_a_sentence_a_line_or_a_word() -> None:
    assert split("One.\n\nTwo\nlines.\n", 100) == ["One.\n\nTwo\nlines.\n"]
    assert split("a" * 60 + "\n\n" + "b" * 60, 100) == ["a" * 60 + "\n\n", "b" * 60]
    assert split("First of it. Second? Yes! " + "w" * 30, 30) == ["First of it. Second? Yes! ", "w" * 30]
    assert split("one two\nthree four five", 16) == ["one two\n", "three four five"]
    assert split("word " * 10, 24) == ["word word word word ", "word word word word ", "word word "]
    assert split("x" * 70, 30) == ["x" * 30, "x" * 30, "x" * 10]
    assert split("안녕하세요。" * 3, 40) == ["안녕하세요。" * 2, "안녕하세요。"]  # three bytes each
    assert split(" \n\n ") == []
    assert split("") == []


PARTS = ("a", "word ", ". ", "\n", "\n\n", "漢字", "。", "😀", " ")


@given(st.lists(st.sampled_from(PARTS), max_size=300), st.integers(8, 60))
def test_passages_lose_nothing_and_are_short_enough(parts: list[str], longest: int) -> None:
    text = "".join(parts)
    found = split(text, longest)
    assert "".join(found) == text.lstrip()
    assert all(len(passage.rstrip().encode()) <= longest for passage in found)
    assert all(passage.strip() for passage in found)


def test_the_passages_of_a_text_know_their_lines_and_those_of_parts_stay_inside() -> None:
    text = "\nFirst line.\n\n" + "Word. " * 115 + "\n\nLast."
    document = Document.of_lines("a.txt", "line", text)
    assert document.text() == text.lstrip()
    assert [document.place(n) for n in range(len(document.passages))] == ["line 2", "line 4"]
    pages = Document.of_parts("a.pdf", "page", [(1, "One.\n\n"), (2, ""), (3, "Three.\n\n")])
    assert pages.passages == [[1, "One.\n\n"], [3, "Three.\n\n"]]
    assert [pages.place(n) for n in range(2)] == ["page 1", "page 3"]
    assert Document("a.docx", "paragraph", [["Results", "It worked."]]).place(0) == "Results"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xef\xbb\xbfabc", ["utf-8"]),
        (b"\xff\xfea\0", ["utf-16le"]),
        (b"\xfe\xff\0a", ["utf-16be"]),
        ("no mark".encode("utf-16-le"), ["utf-16le"]),
        ("no mark".encode("utf-16-be"), ["utf-16be"]),
        (b"abc", ["utf-8", "windows-1252"]),
        (b"\x7fELF\0\0\1\2", ["utf-8", "windows-1252"]),
        (b"\0", ["utf-8", "windows-1252"]),
        (b"", ["utf-8", "windows-1252"]),
    ],
)
def test_the_first_bytes_say_the_encodings_to_try(head: bytes, expected: list[str]) -> None:
    assert encodings(head) == expected


def test_the_users_language_says_which_old_encoding_is_tried_before_western_europes() -> None:
    assert encodings(b"abc", "ko-KR") == ["utf-8", "euc-kr", "windows-1252"]
    assert encodings(b"abc", "de") == ["utf-8", "windows-1252"]


def test_a_text_is_told_from_a_binary_file() -> None:
    assert not is_binary("Grüße\r\n\t\x1b[1mbold\x1b[0m\f")
    assert not is_binary("")
    assert is_binary("PK\3\4" + "\0" * 9)
    assert is_binary("a\0")
    assert is_binary("".join(map(chr, range(1, 256))))


def test_a_photo_is_known_by_its_name() -> None:
    assert is_photo("B.JPeG") and not is_photo("b.tiff")


def test_files_that_were_not_read_are_named_by_their_reason() -> None:
    assert not_read([]) == ""
    kinds, locked = "Texts can be read.", "A PDF with a password cannot be read."
    skipped = [("a.exe", kinds), ("c.pdf", locked), ("b.zip", kinds)]
    assert not_read(skipped) == f"Not read: a.exe, b.zip. {kinds} Not read: c.pdf. {locked}"
    assert not_read([(f"{n}", kinds) for n in range(9)]) == f"Not read: 0, 1, 2, 3, 4 and 4 more. {kinds}"


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("日本語の会話", "日本語の会話.md"),
        ("Grüße, größer & more (1)", "Grüße, größer & more (1).md"),
        ('a/b\\c:d*e?f"g<h>i|j', "a-b-c-d-e-f-g-h-i-j.md"),
        ("tab\there\nand\x7fthere\x85", "tab-here-and-there-.md"),
        ("\u202eexe.txt", "-exe.txt.md"),
        (" trailing dots. . ", "trailing dots.md"),
        ("CON", "_CON.md"),
        ("com1.txt", "_com1.txt.md"),
        ("Console", "Console.md"),
        ("...", "TensorTab.md"),
        ("", "TensorTab.md"),
    ],
)
def test_only_what_a_system_forbids_is_replaced_in_the_name_of_a_download(title: str, expected: str) -> None:
    assert file_name(title, ".md") == expected


@given(st.text(max_size=300))
def test_every_name_of_a_download_is_accepted_everywhere(title: str) -> None:
    name = file_name(title.encode("utf-8", "ignore").decode(), ".json")
    assert 6 <= len(name.encode()) <= 206 and name.endswith(".json")
    assert not set(name) & {*'/\\:*?"<>|', *map(chr, range(32)), "\x7f"}
    assert name.removesuffix(".json") == name.removesuffix(".json").rstrip(". ")


def test_a_long_name_is_cut_between_letters() -> None:
    assert file_name("語" * 100, ".md") == "語" * 65 + ".md"  # 195 of 200 bytes
    assert fitting("a😀b", 4) == "a" and fitting("a😀b", 5) == "a😀" and fitting("ab", 9) == "ab"
