"""Numbers, amounts, times and plurals in words, in the languages of the page, by the real interpreter."""

from tests.studio.micropython import values

SETUP = "from studio.shell.wording import *\nimport time"
KOREAN = {"%s texts": "텍스트 %s개", "Yes": "예"}
POLISH = {"%s texts": {"one": "%s tekst", "few": "%s teksty", "many": "%s tekstów"}}
STATS = {
    "timings": {"tokens_per_second": 123.4, "ttft_ms": 420}, "usage": {"completion_tokens": 61},
    "finish_reason": "length",
}  # fmt: skip


def test_numbers_in_english() -> None:
    cases = {
        "digits(31400.4)": "31,400", "digits(1234567)": "1,234,567", "digits(999.6)": "1,000", "digits(99.96)": "100",
        "digits(9.996)": "10.0", "digits(0.5)": "0.50", "digits(0.0052)": "0.005", "digits(0.0004)": "0",
        "digits(2**40)": "1,099,511,627,776", "number(2048)": "2,048", "number(0.6, 2, 0)": "0.6",
        "share(0.0042)": "0.4%", "share(0.0996)": "10%", "share(0.43)": "43%", "share(1.2)": "120%",
        "size(97_800_000)": "98 MB", "size(9_420_000)": "9.4 MB", "size(3_400_000_000)": "3.4 GB",
        "size(12)": "12 bytes", "size(1)": "1 byte", "rate(2_100_000)": "2.1 MB/s",
        "duration(0.2)": "1 sec", "duration(12)": "12 sec", "duration(119)": "2 min", "duration(7300)": "2 hr",
        'amount(2.1e-6, "s")': "2.10 µs", 'amount(0.0123, "s")': "12.3 ms", 'amount(3.2e-8, "s")': "32.0 ns",
        'amount(0.99999, "s")': "1.00 s", 'amount(75, "s")': "75.0 s", 'amount(2.954e12, "B/s")': "2.95 TB/s",
        'amount(999.9e6, "B/s")': "1.00 GB/s", 'amount(7e8, "FLOP/s")': "700 MFLOP/s",
        'plural(1, "%s text", "%s texts")': "1 text", 'plural(0, "%s text", "%s texts")': "0 texts",
        'plural(1234, "%s text", "%s texts")': "1,234 texts", 'language_name("ko")': "Korean",
        'language_name("no code")': "no code", 't("Yes")': "Yes", "ago(time.time())": "just now",
        "ago(time.time() - 90)": "1 minute ago", "ago(time.time() - 86401)": "yesterday",
        "ago(time.time() - 3 * 86400 - 1)": "3 days ago", "ago(time.time() + 99)": "just now", "figures({})": "",
        f"figures({STATS})": "123 tokens/s  ·  first token after 0.42 sec  ·  61 tokens  ·  stopped at the limit",
    }  # fmt: skip
    assert dict(zip(cases, values(SETUP, *cases), strict=True)) == cases


def test_numbers_in_korean() -> None:
    cases = {
        "size(12)": "12바이트", "size(97_800_000)": "98MB", "duration(12)": "12초", "duration(119)": "2분",
        "duration(7300)": "2시간", "share(0.43)": "43%", "number(31400)": "31,400",
        'plural(1, "%s text", "%s texts")': "텍스트 1개", 'plural(1234, "%s text", "%s texts")': "텍스트 1,234개",
        'plural(2, "%s file", "%s files")': "2 files",
        'language_name("en")': "영어", 'language_name("en", "en")': "English",
        't("Yes")': "예", 't("No")': "No", "ago(time.time() - 86401)": "어제",
    }  # fmt: skip
    assert dict(zip(cases, values(SETUP, *cases, language="ko", texts=KOREAN), strict=True)) == cases


def test_a_language_has_a_text_for_each_of_its_plurals() -> None:
    cases = {1: "1 tekst", 3: "3 teksty", 5: "5 tekstów", 22: "22 teksty"}
    counted = [f'plural({count}, "%s text", "%s texts")' for count in cases]
    *said, number, share = values(SETUP, *counted, "number(1234.5, 1)", "share(0.0042)", language="pl", texts=POLISH)
    assert dict(zip(cases, said, strict=True)) == cases
    assert [number, share] == ["1234,5", "0,4%"]
