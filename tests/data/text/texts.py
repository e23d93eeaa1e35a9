"""Texts for comparing tokenizers: spaces, scripts, emoji, digits, code, odd characters."""

TEXTS = [
    "", " ", "  ", "   ", "\n", "\n\n\n", "\t", "\r\n", " \n \n", "a", " a", "a ", "  a  b   c    ",
    "Hello world", "hello", "Hello, world! It's a test; we're testing, I'll go, they'VE gone.",
    "HELLO'S WORLD'LL", "The quick brown fox jumps over the lazy dog.", "don't", "'s 't 're", "O'Neill’s",
    "1234567890 3.14159", "3", "33", "333", "3333", "33333", "1,000,000.00", "x1y22z333", "½ ² ٣ १२३ Ⅷ",
    "naïve façade", "Ünïcödé — “quotes”…", "東京タワー", "你好，世界！", "한국어 문장입니다.", "Привет, мир!",
    "שלום עולם", "مرحبا بالعالم", "हिन्दी में", "ไทยไม่มีช่องว่าง", "🗼👩\u200d👩\u200d👧 🇫🇷 ✨", "e\u0301 vs é",
    "CamelCaseWords snake_case kebab-case SCREAMING_CASE", "ǅ ǈ Ǌ ʰʱ ªº", "def f(x):\n    return x + 1\n",
    "if (a != b) { return c->d[0]; } // comment\n\n", "#include <stdio.h>\r\n\r\nint main(void)\r\n",
    "https://example.com/path?query=1&x=%20#frag", "user@example.com", "<b>bold</b> &amp; <br/>",
    "$100 + €50 = £??? *** ---", "!!!???...", "a\u00a0b\u2003c\u3000d", "\u200b\ufeff", "tab\tand\u000bvertical\u000cfeed",
    "trailing newline\n", "\nleading newline", "word\n\n  indented", "a/b//c\n/d/\n", "null\u0000byte", "\u2581already\u2581escaped",
    "ﷺ", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "A" * 40, "ab" * 30, " " * 17, "aaaaaaa bbbbbbbb", "<|im_start|>user\nHi<|im_end|>\n",
]

# Characters that the patterns of pre-tokenizers treat differently.
PATTERN_TEXTS = [
    "हिन्दी में क्‍या e\u0301\u0301x \u0301 ٣٤٥٦", "'ſ can'T I'Ve WE'RE x'LL ", "12345678 1234 ١٢٣٤٥٦٧ ²³⁴⁵ ⅧⅨⅩⅪ x1234567y",
    "汉字漢字12字。「引用」！？ ㄱㄴㄷ ㄅㄆ ︰（x）", "你 好  \n世界   ", "x   中  ", "Ⓐⓑ 〇〡 ㊀ ⺀ 々〻", "a/\r\n/b !\n\n? ...\r\n",
    "Straße ﬁx ǅungla ΑΒΓ αβγ ᾼ ᏸ Ａｂ 𐐀𐐨 µ ª", "x\u2028y\u2029z\x85w \u3000 q", " \n\n  \n   x\n", "«a» ‘b’ $1 +2 <3> =4 ^5 ~6 |7 `8",
]

# Words that WordPiece and Unigram split, and characters that their normalizers change.
ENCODER_TEXTS = [
    "Überprüfung ÀÉÎ İstanbul Straße", "x" * 101, "x" * 99, "don't, isn't; we've (they're) I'm.",
    "中文字符 and 日本語テキスト", "\u0000a\ufffdb\u200bc", "﷼ﷺ ① ㍿ ｱｲｳ Å ﬁ", "  two  spaces \u3000 x ",
    "[CLS] a [SEP] <s> b </s> [MASK] <mask>", "##ab ▁a a▁b", "😀😀 x 😀", "e\u0301\u0327 \u1e69 ḍ̇",
]
