"""Values as strangers send them: anything that JSON can say, with a liking for what lies at an edge."""

from hypothesis import strategies as st

#: Words that would run, steer or break something where they are not escaped.
WORDS = (
    *("", " ", "base", "own", "find-red", "mean", "max", "raw", "true", "0", "-1", "1e9", "1,2,3,4", "L1H3,L0H2"),
    *(
        "<img src=x onerror=alert(1)>",
        "${globalThis.owned = 1}{{value}}`",
        "=1+1",
        "../../etc/passwd",
        "\x1b[2J",
        "\x00",
    ),
    *("\ud800", "‮abc", "日本", "a" * 3_000, "9" * 400, "1" * 5_000, "NaN", "Infinity", "data:image/png;base64,AA"),
)
_EDGES = (0, 1, -1, 4, 8, 255, 256, 10**9, 10**9 + 1, 2**31, 2**63, 2**64, 10**399, -(10**399))

numbers = st.one_of(st.sampled_from(_EDGES), st.integers(-5, 40), st.floats(allow_nan=True, allow_infinity=True))
texts = st.one_of(st.sampled_from(WORDS), st.text(max_size=40), st.text("0123456789,;.-e ", max_size=24))
plain = st.one_of(st.none(), st.booleans(), numbers, texts)
anything = st.recursive(
    plain, lambda part: st.one_of(st.lists(part, max_size=6), st.dictionaries(texts, part, max_size=4)), max_leaves=12
)
