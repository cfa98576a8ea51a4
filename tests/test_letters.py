"""Letters, words and values in every script: what is written in Tamil, Hebrew, Chinese or Thai is read rightly."""

import re
import sys
import unicodedata

import pytest
import regex

from vectalk.concepts.shelf import folder_of
from vectalk.evaluation.metrics.distinctness import self_bleu
from vectalk.llm import Reply
from vectalk.readback.encoder import TfidfEncoder
from vectalk.space import VectorSpace
from vectalk.space.letters import (
    IN_WORD,
    ValueFinder,
    count_letters,
    count_words,
    find_words,
    tokens_in,
    without_accents,
    words_in,
)
from vectalk.tasks import FactsTeacher, Suite
from vectalk.tasks.attributes import Attribute, AttributeReader
from vectalk.tasks.corpus.check.duplicates import ALIKE, normalised, signatures
from vectalk.tasks.derive import label_of
from vectalk.tasks.named_titles import TitleFinder
from vectalk.tasks.teachers.target_check import problem_of
from worlds import space_of

SENTENCES = {
    "Amharic": "በገጠር የሚኖር ልጅ ታሪክ።",
    "Arabic with points": "قِصَّةٌ عَائِلِيَّةٌ هَادِئَةٌ.",
    "Bengali": "হাসিতে ভরা প্রেমের কাহিনি।",
    "Burmese": "ဤဇာတ်လမ်းသည် ဖြည်းဖြည်းချင်း သွားသော မိသားစု ဇာတ်လမ်း ဖြစ်သည်။",
    "Chinese": "这是一个节奏缓慢的家庭故事，幽默与悲伤交织在一起。",
    "Georgian": "მშვიდი ოჯახური ამბავი.",
    "Gujarati": "ગામમાં રહેતા છોકરાની વાર્તા.",
    "Hebrew with points": "סִפּוּר מִשְׁפַּחְתִּי אִטִּי שֶׁמְּשַׁלֵּב הוּמוֹר וְעֶצֶב.",
    "Hindi": "यह धीमी गति की पारिवारिक कहानी है।",
    "Japanese": "田舎の少年のゆっくりとした物語。",
    "Kannada": "ತಂದೆ ಮತ್ತು ಮಗನ ನಡುವಿನ ಹೋರಾಟ.",
    "Khmer": "រឿងរ៉ាវរបស់ក្មេងប្រុសនៅភូមិ។",
    "Korean in parts": unicodedata.normalize("NFD", "느린 호흡의 가족 이야기."),
    "Lao": "ເລື່ອງຂອງເດັກຊາຍທີ່ອາໄສຢູ່ໃນໝູ່ບ້ານ",
    "Malayalam": "അച്ഛനും മകനും തമ്മിലുള്ള പോരാട്ടം.",
    "Malayalam with joiners": "അവന്‍ വന്നു, അവള്‍ പോയി.",
    "Maldivian": "މިއީ ރަށެއްގައި އުޅޭ ކުއްޖެއްގެ ވާހަކައެކެވެ",
    "Odia": "ଗାଁରେ ରହୁଥିବା ପିଲାର କାହାଣୀ।",
    "Persian": "داستان آرامی که می‌خواهد بماند.",
    "Punjabi": "ਪਿੰਡ ਵਿੱਚ ਰਹਿੰਦੇ ਮੁੰਡੇ ਦੀ ਕਹਾਣੀ।",
    "Sinhala": "ගමේ ජීවත් වන පිරිමි ළමයෙකුගේ කතාව.",
    "Tamil": "கிராமத்தில் வாழும் சிறுவனின் கதை.",
    "Telugu": "గ్రామంలో నివసించే బాలుడి కథ.",
    "Thai": "เป็นเรื่องราวครอบครัวที่ดำเนินไปอย่างช้าๆ",
    "Tibetan": "གྲོང་གསེབ་ཀྱི་བུ་ཆུང་གི་སྒྲུང་།",
    "Vietnamese in parts": unicodedata.normalize("NFD", "Một câu chuyện gia đình chậm rãi."),
}


@pytest.mark.parametrize("language", SENTENCES)
def test_a_sentence_of_any_language_is_no_garbage(language: str) -> None:
    assert problem_of(Reply(SENTENCES[language], "stop", 1, 1), 150) is None


@pytest.mark.parametrize(
    "text", ["%%% 88 && 12 @@ 99 ## 7171 :: 11", "\u0bbe\u0bcd \u0bbe\u0bcd \u0bbe\u0bcd", "❤️❤️❤️❤️ 😀😀"]
)
def test_marks_without_letters_are_garbage(text: str) -> None:
    problem = problem_of(Reply(text, "stop", 1, 1), 150)
    assert problem is not None
    assert problem.reason == "garbage"


def test_letters_are_counted_with_their_marks() -> None:
    assert count_letters("கதை") == 3
    assert count_letters("סִפּוּר!") == 7
    assert count_letters("it's 2") == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's a so-called “film”.", ["It", "s", "a", "so", "called", "film"]),
        ("காதல் கதை.", ["காதல்", "கதை"]),
        ("סִפּוּר קצר", ["סִפּוּר", "קצר"]),
        ("می‌خواهم بروم", ["می‌خواهم", "بروم"]),
        ("一部3D电影。", ["一", "部", "3D", "电", "影"]),
        ("หนังดี", ["ห", "นั", "ง", "ดี"]),
        ("느린 가족", ["느린", "가족"]),
    ],
)
def test_words_keep_their_marks_and_signs_without_blanks_stand_alone(text: str, words: list[str]) -> None:
    assert words_in(text) == words
    assert [match.group() for match in find_words(text)] == words


def test_the_quick_way_takes_the_same_for_letters_as_the_exact_one() -> None:
    exact = regex.compile(f"[{IN_WORD}]")
    for code in range(sys.maxunicode + 1):
        sign = chr(code)
        if unicodedata.category(sign) not in ("Cn", "Cs"):
            assert (words_in(sign) != []) == (exact.match(sign) is not None), f"U+{code:04X}"


def test_accents_fall_where_they_may_be_left_out_and_nowhere_else() -> None:
    assert without_accents("Misérables, Ёлки, Ἀθήνα, סִפּוּר") == "Miserables, Елки, Αθηνα, ספור"
    assert without_accents("ガラス") == "ガラス"  # glass, not カラス, crow
    assert without_accents("कहानी") == "कहानी"
    assert without_accents("क्षमा") == "क्षमा"


@pytest.mark.parametrize(
    ("text", "count"),
    [("a b - c", 4), ("这是一个家庭故事。", 4), ("一部3D电影", 3), ("หนังตลกดี", 2), ("காதல் கதை", 2), ("느린 가족", 2)],
)
def test_words_are_counted_also_where_no_blanks_part_them(text: str, count: int) -> None:
    assert count_words(text) == count


def test_a_long_chinese_reply_is_too_long_and_one_of_common_length_is_not() -> None:
    sentence = "少年离开故乡去寻找失踪多年的父亲途中遇见许多陌生人渐渐明白自己真正想要什么"
    assert problem_of(Reply(f"{sentence}。", "stop", 1, 1), 20) is None
    problem = problem_of(Reply(f"{sentence}。", "stop", 1, 1), 10)
    assert problem is not None
    assert problem.reason == "too long"


def test_a_chinese_reply_that_goes_in_circles() -> None:
    problem = problem_of(Reply("这部电影讲述了一个家庭的故事，" * 8, "stop", 1, 1), 150)
    assert problem is not None
    assert problem.reason == "goes in circles"


@pytest.mark.parametrize(
    ("values", "text", "right"),
    [
        (["剧情", "喜剧", "大陆"], "这是一部大陆喜剧, 剧情片。", ["大陆", "喜剧", "剧情"]),
        (["爱", "爱情"], "一部爱情片", ["爱情"]),  # the longer one
        (["3d", "动作"], "一部3d动作片", ["3d", "动作"]),
        (["3d"], "第13d集", []),
        (["コメディ", "アメリカ", "アニメ"], "アメリカコメディ作品のアニメーション", ["アメリカ", "コメディ"]),
        (["恋愛"], "恋愛を描く", ["恋愛"]),
        (["ตลก", "รัก"], "หนังตลกเกี่ยวกับความรัก", ["ตลก", "รัก"]),
        (["ตลก"], "เตลก ตลกา ตลก์", []),  # parts of other syllables
        (["ຕະຫຼົກ"], "ໜັງຕະຫຼົກດີ", ["ຕະຫຼົກ"]),
        (["កំប្លែង"], "ជារឿងកំប្លែងល្អ", ["កំប្លែង"]),
        (["លែង"], "កំប្លែង", []),  # below a stacked sign
        (["ဟာသ"], "ဟာသဇာတ်လမ်း", ["ဟာသ"]),
        (["액션", "한국"], "한국액션영화는 액션과", ["한국", "액션", "액션"]),
        ([unicodedata.normalize("NFD", "액션")], "액션 영화", [unicodedata.normalize("NFD", "액션")]),
        (["காதல்", "கத"], "காதல் கதை", ["காதல்"]),  # கத is no word of கதை
        (["दुख"], "दुखी कहानी, दुख", ["दुख"]),
        (["war", "drama"], "a warm drama, war-like; dramas", ["drama", "war"]),
        (["драма"], "мелодрама и драма", ["драма"]),
        (["café"], "un cafe\u0301 noir", ["café"]),
        (["cafe"], "un cafe\u0301 noir", []),
        ([], "a drama", []),
    ],
)
def test_values_are_found_as_words_of_their_own(values: list[str], text: str, right: list[str]) -> None:
    assert ValueFinder(values).find(text) == right


LANGUAGES = {
    "Chinese": (["剧情", "喜剧", "爱情"], ["大陆", "香港"], "这是一部<r><g>片。"),
    "Japanese": (["ドラマ", "コメディ", "恋愛"], ["日本", "アメリカ"], "<r><g>だ。"),
    "Thai": (["ตลก", "ชีวิต", "รัก"], ["ไทย", "จีน"], "ภาพยนตร์<r>แนว<g>ที่น่าดู"),
    "Lao": (["ຕະຫຼົກ", "ຊີວິດ"], ["ລາວ", "ໄທ"], "ໜັງ<r>ແນວ<g>ດີ"),
    "Khmer": (["កំប្លែង", "មនោសញ្ចេតនា"], ["ខ្មែរ", "ចិន"], "រឿង<r>បែប<g>ល្អ។"),
    "Burmese": (["ဟာသ", "အချစ်"], ["မြန်မာ", "ထိုင်း"], "<r><g>ဇာတ်လမ်းဖြစ်သည်။"),
    "Korean": (["드라마", "코미디", "액션"], ["한국", "미국"], "<r>의 <g>와 노래."),
    "Hindi": (["नाटक", "हास्य", "प्रेम"], ["भारत", "चीन"], "यह <r> की <g> फ़िल्म है।"),
    "Tamil": (["நாடகம்", "காதல்", "கத"], ["இந்தியா", "சீனா"], "<r>: <g> கதை."),
    "German": (["Drama", "Komödie", "Krimi"], ["Österreich", "Schweiz"], "<r>: <g>."),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_facts_teacher_writes_is_read_back_in_any_language(language: str) -> None:
    genres, regions, wording = LANGUAGES[language]
    chosen = [[g for j, g in enumerate(genres) if (i + 1) >> j & 1] or genres[:1] for i in range(60)]
    space = space_of(genres=chosen, region=[regions[i % 2] for i in range(60)])
    suite = Suite.model_validate(
        {
            "name": "own",
            "attributes": {"film": {"genres": {"kind": "list"}, "region": {"kind": "category"}}},
            "tasks": [
                {
                    "name": "summary",
                    "slots": {"film": "film"},
                    "about": "film",
                    "states": ["genres", "region"],
                    "prompts": ["{film}"],
                    "facts": [wording.replace("<r>", "{{ film.region }}").replace("<g>", "{{ film.genres | series }}")],
                }
            ],
        }
    )
    teacher = FactsTeacher(suite, {"film": space})
    for row in range(60):
        text = teacher.write(suite.tasks[0], {"film": row}, "0")
        assert text is not None
        readers = teacher.readers["film"]
        assert (readers["genres"].read(text), readers["region"].read(text)) == (chosen[row], regions[row % 2])


def test_decades_stand_beside_signs_without_blanks() -> None:
    reader = AttributeReader(
        "decade", Attribute(kind="decade", column="year"), space_of(year=[1990 + i for i in range(20)])
    )
    assert reader.stated("这是1990s的电影，不是x1980s，也不是2000skis") == ["1990s"]


def test_titles_in_the_marks_of_chinese_and_japanese_hold_no_values() -> None:
    reader = AttributeReader("genre", Attribute(kind="category"), space_of(genre=["爱情", "喜剧"] * 10))
    assert reader.stated("《爱情故事》和『爱情』是喜剧") == ["喜剧"]


@pytest.mark.parametrize(
    ("title", "text", "sure"),
    [
        ("霸王别姬", "《霸王别姬》讲述了两位伶人。", [True]),
        ("英雄", "他是一位英雄。", []),  # a common word
        ("英雄", "《英雄》讲述了一位剑客。", [True]),
        ("罗密欧与朱丽叶", "这里罗密欧与朱丽叶相爱。", [True]),  # five signs or more leave little doubt
        ("霸王别姬", "这里霸王别姬上演。", [False]),
        ("কাহিনি", "কাহ এবং কাহন", []),
        ("கதை", "கத்தி, கதவு", []),
        ("ガラス", "カラスが飛ぶ「カラス」", []),
        ("Her (2013)", "One calls it _Her_.", [True]),
    ],
)
def test_titles_in_other_scripts(title: str, text: str, sure: list[bool]) -> None:
    assert [mention.sure for mention in TitleFinder([title]).find(text)] == sure


def test_chinese_texts_that_differ_in_a_few_signs_are_near_duplicates() -> None:
    first = "这是一个节奏缓慢的家庭故事，幽默与悲伤交织在一起，主人公在乡下长大，后来去了城市谋生。"
    near, other = (
        first.replace("乡下", "山里"),
        "一名警察追捕连环杀手，城市陷入恐慌，真相却出人意料，令人久久不能平静。",
    )
    bands = signatures([normalised(text) for text in (first, near, other)])
    assert (bands[0] == bands[1]).sum() >= ALIKE
    assert (bands[0] == bands[2]).sum() < ALIKE


def test_chinese_texts_share_parts_in_bleu_and_tfidf() -> None:
    texts = ["这是一部家庭喜剧故事片", "这是一部家庭爱情故事片", "警察追捕连环杀手令人恐慌"]
    scores = self_bleu(texts)
    assert scores[0] > 0.3
    assert scores[2] == 0
    rows = TfidfEncoder(2).fit(texts).encode(texts)
    assert rows[0] @ rows[1] > 0.5 > abs(rows[0] @ rows[2])


def test_tokens_of_an_english_text_are_as_they_were() -> None:
    text = "It’s a_b: “so-called” 1990s naïve Ёлки..."
    assert tokens_in(text) == re.findall(r"\w+|[^\w\s]", text)


def test_columns_and_concepts_keep_their_marks(tmp_path) -> None:
    assert label_of("शैली_नाम") == "शैली नाम"
    assert label_of("alcoholPct") == "alcohol pct"
    space = space_of(genre=["a", "b"] * 10)
    space.save(tmp_path / "s")
    space = VectorSpace.load(tmp_path / "s")
    assert len({folder_of(space, name) for name in ("कहानी", "कहीना", "कहना")}) == 3
