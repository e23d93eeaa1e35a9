"""Texts for comparing full-size vocabularies: languages, code, emoji, white space, random characters.

The sentences were written for this repository. The texts and their order are always the same.
"""

SENTENCES = [
    "The quick grey cat didn't see what we'd hidden behind O'Neill's 3 old barns, did it?",
    "Dr. Smith's e-mail (j.smith@example.com) arrived at 10:45 a.m.; it read: \"We're DONE!\"",
    "Die Straßenbahn fährt um 7.30 Uhr über die größte Brücke Österreichs.",
    "L'été dernier, j'ai aperçu un cœur gravé sur l'arbre d'à côté : « toujours ».",
    "¿Cuántos años tenía el niño cuando llegó a la montaña? ¡Nadie lo sabe!",
    "A canção começou às três da manhã e não parou até o amanhecer.",
    "La città più bella è quella che non s'è ancora vista, disse l'anziano.",
    "De poëzie van vóór de oorlog werd pas in 1987 opnieuw geïllustreerd.",
    "Blåbær og røde æbler ligger på køkkenbordet hos Søren.",
    "Åtta små fåglar äter frön på isen i Växjö.",
    "Hyvää päivää, missä on lähin rautatieasema ja kirjasto?",
    "Það er kalt í dag en þorpið er fallegt.",
    "Zażółć gęślą jaźń, a potem idź spać o wpół do jedenastej.",
    "Příliš žluťoučký kůň běžel přes řeku ke mlýnu.",
    "Tri kŕdle vtákov odleteli na juh ešte pred svitaním.",
    "Az öreg hídőr tűnődve nézte a folyó fölötti ködöt.",
    "Țăranul și-a vândut căruța în târgul de sâmbătă.",
    "Şişli'deki küçük çocuk İstanbul'u ilk kez görüyordu; ışıklar parlıyordu.",
    "Bu kitob 1999-yilda yozilgan, lekin hech kim o'qimagan.",
    "Vaikas rado žalią ąžuolo lapą šalia upės.",
    "Ģimene dzīvo mazā mājiņā pie ezera.",
    "Õhtul jäi järv täiesti vaikseks.",
    "Nhà tôi ở cạnh một con sông nhỏ, mùa hè nước rất trong.",
    "Anak-anak bermain di pantai sampai matahari terbenam.",
    "Mtoto alikwenda sokoni kununua ndizi tatu na samaki mmoja.",
    "Ọmọ náà lọ sí ọjà láti ra ẹja àti iyọ̀.",
    "Съешь же ещё этих мягких булок, да выпей чаю в 17:00.",
    "Українська їжа смачна, особливо борщ із пампушками.",
    "Най-хубавото време за разходка е рано сутрин.",
    "Љубав је кад чекаш на киши, рекао је Ђорђе.",
    "Қазақстанда қыс ұзақ әрі суық болады.",
    "Монгол улсад таван сая гаруй адуу байдаг.",
    "Η γάτα κοιμάται δίπλα στο παράθυρο, όπως κάθε απόγευμα.",
    "Արևը դուրս եկավ լեռների հետևից։",
    "დილით მთაში ნისლი იდგა და ჩიტები ჭიკჭიკებდნენ.",
    "הילד הלך לשוק וקנה שלושה תפוחים אדומים.",
    "שָׁלוֹם לְכֻלָּם, מַה נִּשְׁמַע הַיּוֹם?",
    "ذهب الولد إلى السوق واشترى ثلاث تفاحات حمراء.",
    "مَرْحَبًا بِكُمْ فِي بَيْتِنَا الصَّغِيرِ، العدد ١٢٣٤.",
    "کتابخانهٔ شهر ما هر روز ساعت ۸ صبح باز می‌شود.",
    "بچے صبح سویرے اسکول جاتے ہیں۔",
    "बच्चे सुबह नदी के किनारे खेल रहे थे, संख्या १२३।",
    "আমার বাড়ির পাশে একটি ছোট নদী আছে।",
    "ਸਾਡੇ ਪਿੰਡ ਵਿੱਚ ਇੱਕ ਪੁਰਾਣਾ ਖੂਹ ਹੈ।",
    "અમારા ગામમાં એક મોટું ઝાડ છે.",
    "எங்கள் ஊரில் ஒரு பழைய கோயில் உள்ளது.",
    "మా ఊరిలో ఒక పెద్ద చెరువు ఉంది.",
    "ನಮ್ಮ ಹಳ್ಳಿಯಲ್ಲಿ ಒಂದು ಹಳೆಯ ಮರವಿದೆ.",
    "ഞങ്ങളുടെ ഗ്രാമത്തിൽ ഒരു പുഴയുണ്ട്.",
    "අපේ ගමේ පරණ පාලමක් තියෙනවා.",
    "เด็กๆ เล่นน้ำอยู่ริมแม่น้ำในวันที่ ๑๒ เมษายน",
    "ເດັກນ້ອຍຫຼິ້ນຢູ່ແຄມນ້ຳ.",
    "ကလေးများသည် မြစ်ကမ်းတွင် ကစားနေကြသည်။",
    "ក្មេងៗកំពុងលេងនៅមាត់ទន្លេ។",
    "བྱིས་པ་ཚོ་གཙང་པོའི་འགྲམ་དུ་རྩེད་མོ་རྩེ་གི་འདུག",
    "ልጆቹ በወንዙ ዳር ይጫወታሉ።",
    "孩子们在河边玩耍，一共有１２３个人。",
    "那座橋在颱風之後重新修建，花了三年時間。",
    "吾輩は散歩が好きで、カメラを持って東京タワーまで歩いた。ﾃｽﾄです！",
    "きょうはとてもいいてんきですね。ラーメンを食べに行こう〜",
    "아이들이 강가에서 놀고 있었다. 모두 12명이었다.",
    "가각간갇갈 ㅋㅋㅋ ㅠㅠ",
    "ⵜⴰⴷⴷⴰⵔⵜ ⵏⵏⵖ ⵜⵍⵍⴰ ⴳ ⵓⴷⵔⴰⵔ",
    "𝕿𝖍𝖊 𝒻𝒶𝓃𝒸𝓎 𝟙𝟚𝟛 ＦＵＬＬ ｗｉｄｔｈ ǅungla ǈubav ŉ ﬁ ﬂ",
]

CODE = [
    "fn main() {\n    let x: Vec<u32> = (0..10).map(|i| i * i).collect();\n    println!(\"{x:?}\");\n}\n",
    "def f(a, *b, **c):\n\t\"\"\"doc\"\"\"\n\treturn {k: v for k, v in c.items() if not a == b[0]}\n",
    "if (a!==b&&c>=0x1F){ return [...a].map(x=>x?.y ?? 'none'); } // TODO(me): 2x\n",
    "#include <stdio.h>\nint main(void){for(int i=0;i<100;i++)printf(\"%d\\n\",i);return 0;}\n",
    "SELECT id, COUNT(*) AS n FROM t1 LEFT JOIN t2 USING(id) WHERE n > 1e-5 GROUP BY 1;",
    "<div class=\"a-b c__d\" data-x='1'>&nbsp;&lt;tag&gt; <br/></div>\r\n<!-- x -->",
    "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Zürich\", \"days\": [1, 2, 3], \"ok\": null}}",
    "curl -sS -X POST 'https://example.com/v1/items?q=a%20b&n=10#top' | jq '.[] | .id'",
    "\\begin{align*}\n  \\int_0^\\infty e^{-x^2}\\,dx &= \\frac{\\sqrt{\\pi}}{2} \\\\\n\\end{align*}",
    "commit 3f2a9bc\n--- a/src/lib.rs\n+++ b/src/lib.rs\n@@ -1,3 +1,4 @@\n-use std::io;\n+use std::fs;\n",
    "HTTPServerError getURLFromXMLString parseJSON2HTML snake_case_name SCREAMING_SNAKE kebab-case iPhone15Pro",
    "<tool_call>\n<function=get_time>\n<parameter=zone>\nEurope/Berlin\n</parameter>\n</function>\n</tool_call>",
    "| a | b |\n|---|:-:|\n| 1 | **x** |\n\n1. one\n2. two\n   - three\n\n> quote\n\n```sh\nls -la\n```",
    "version = \"1.2.3-rc.4+build.5\"\nips = [192.168.0.1, fe80::1]\ndate = 2024-02-29T23:59:60.000Z",
    "x = 3.14159265358979; y = 1_000_000; z = 0b1010_1111; w = -7e+10; s = 1,234,567.89 €",
    "(((a)))[[[b]]]{{{c}}}<<<>>>;;;:::,,,...!!!???---+++===***///|||&&&%%%$$$###@@@~~~```",
]

EMOJI = [
    "👍👍🏽👩‍👩‍👧‍👦🏳️‍🌈🇩🇪🇯🇵",
    "🙂🙃😉😊😇 🥰😍🤩 😘😗☺️😚😙🥲",
    "a👍b👍 c 👍. 1️⃣2️⃣#️⃣",
    "⌚️⏰☎️✂️✈️❤️‍🔥♻️™️©®",
    "🧑🏿‍🚀🧜🏻‍♀️👨🏼‍🦽‍➡️",
    "→⇒∀x∈ℝ: ⌈x⌉ ≥ x ∧ ∂f/∂x ≠ ½ ⁺¹²₃",
    "┌─┬─┐│█▓▒░│└─┴─┘",
    "①②③ Ⅳ ⅷ ㈱ ㎏ ½ ¾ ٣ ௩ 〇 𝟗",
]

# Line ends, spaces and combinations of them.
SPACES = [" ", "  ", "   ", "\t", "\t\t", " \t ", "\n", "\n\n", "\r\n", "\r\n\r\n", "\r", " \n", "\n ", "\n\n\n ", "  \n  \n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u0085", "\u2028", "\x0b", "\x0c", " \u00a0 "]
WORDS = ["word", "Word", "WORD", "wOrD", "x", "42", "1234567", "é", "字", ".", "...", "'s", "'S", "don't", "/path", "🙂"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'lL", "\u2019s", "'ſ", "'x", "''", "'"]

# Chats as templates render them, complete and damaged; each vocabulary knows other control tokens.
CHATS = [
    "<s><|im_start|>system\n<|im_end|>\n<|im_start|>user\nHi there!  <|im_end|>\n<|im_start|>assistant\n<think>\n",
    "<|im_start|>assistant\n<think></think>It's 5 o'clock.<|im_end|>\n",
    "<think>\nWhich zone?\n</think>\n<tool_call>\n<function=get_time>\n</function>\n</tool_call><|im_end|>",
    "<|im_start|>user\n<tool_response>\n{\"t\": 12}\n</tool_response>\n<|im_end|>",
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHé, ça va ?<|eot_id|>",
    "<|python_tag|>print('hi')<|eom_id|><|end_of_text|>",
    "[INST] one [/INST] two</s>[INST][INST]",
    "<unk><unk><s></s><SPECIAL_16><SPECIAL_999><SPECIAL_1000><|reserved_special_token_0|>",
    "a<|im_end|>b <|im_end|> c\n<|im_end|>\n<|im_end|><|im_end|>",
    "<|im_start<|im_end|>|><|im_start|><|im_<think><think >< think></think",
    "\u3000<|eot_id|>\u00a0<|eot_id|>\r\n<|eot_id|>🙂<|eot_id|>é<|eot|><|eot_id|",
]


class Random:
    """xorshift64*, as in tests/text/main.rs."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        mask = (1 << 64) - 1
        self.state ^= self.state >> 12
        self.state ^= self.state << 25 & mask
        self.state ^= self.state >> 27
        return ((self.state * 0x2545F4914F6CDD1D & mask) >> 33) % limit

    def pick(self, values):
        return values[self.below(len(values))]


def character(random):
    kind = random.below(8)
    if kind == 0:
        return random.pick(SPACES)
    if kind == 1:
        return chr(random.below(0x250))
    if kind == 2:
        return random.pick(WORDS)
    if kind == 3:
        return chr(0x300 + random.below(0x70))  # combining marks
    if kind == 4:
        return chr(random.below(0x3000))
    point = random.below(0x30000)
    return "\ufffd" if 0xD800 <= point < 0xE000 else chr(point)


def texts():
    found = []
    for text in SENTENCES + CODE + EMOJI:
        found += [text, f" {text}", f"{text}\n", f"\n\n{text}  ", text.upper(), text.lower(), text.swapcase()]
        found += [text.replace(" ", "  "), text.replace(" ", "\n"), text.replace(" ", ""), text[::-1]]
    for space in SPACES:
        found += [space, space * 3, space * 17]
        found += [f"a{space}b", f"{space}b", f"a{space}", f"1{space}2", f".{space}.", f"字{space}字"]
    for word in WORDS:
        found += [word * count for count in (2, 3, 8, 40)]
        found += [word + contraction for contraction in CONTRACTIONS]
    random = Random(2463534242)
    for _ in range(700):
        found.append("".join(character(random) for _ in range(1 + random.below(40))))
    for _ in range(200):
        parts = [random.pick(SENTENCES + CODE + EMOJI) for _ in range(2)]
        cuts = [part[random.below(len(part)) :] for part in parts]
        found.append(random.pick(SPACES).join(cuts))
    found += ["", "0", "a" * 3000, " " * 500, "\n" * 300, "ab" * 1000, "9" * 500, "é" * 400, "🙂" * 200]
    return list(dict.fromkeys(found))
