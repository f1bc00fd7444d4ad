"""Text is cut into blocks of whole records."""

from hypothesis import given
from hypothesis import strategies as st

from skue.reading import _records
from skue.reading._records import blocks_of_records

chunks_of_text = st.lists(st.text('a,"\n\r', min_size=1, max_size=6), max_size=8)


def ends_of_records(text):
    """Return where records end, found letter by letter."""
    ends, quoted = set(), False
    for at, letter in enumerate(text):
        quoted ^= letter == '"'
        if letter in "\r\n" and not quoted:
            ends.add(at + 1)
    return ends


@given(chunks_of_text)
def test_blocks_end_at_records_and_lose_nothing(chunks):
    blocks = list(blocks_of_records([chunk.encode() for chunk in chunks], quotes=True))
    text = "".join(chunks)
    assert b"".join(blocks).decode() == text
    ends = ends_of_records(text)
    length = 0
    for block in blocks[:-1]:
        length += len(block)
        assert length in ends
        # A line end of two letters is not cut.
        assert text[length - 1 : length + 1] != "\r\n"


@given(st.text('a,"\n\r', min_size=1, max_size=20))
def test_a_block_ends_at_the_last_end_of_a_record(text):
    blocks = list(blocks_of_records([text.encode()], quotes=True))
    # A carriage return at the end may be half of a line end.
    ends = [end for end in ends_of_records(text) if text[end - 1 : end + 1] not in ("\r\n", "\r")]
    cut = max(ends, default=0)
    expected = [part for part in (text[:cut], text[cut:]) if part]
    assert [block.decode() for block in blocks] == expected


def test_an_unfinished_record_is_searched_again_only_when_it_has_doubled(monkeypatch):
    lengths = []
    search = _records._end_of_records

    def counted(block, quotes):
        lengths.append(len(block))
        return search(block, quotes)

    monkeypatch.setattr(_records, "_end_of_records", counted)
    list(blocks_of_records([b"a" * 100] * 1000 + [b"\n"], quotes=True))
    assert sum(lengths) < 3 * 100_000
