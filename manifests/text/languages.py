"""The languages of CommonVoice: a row for each whose writing is known, and its script otherwise."""
# ruff: noqa: RUF001, RUF003  (letters and marks that look alike are what this is about)

from dataclasses import replace

from text.language import (
    APOSTROPHE,
    INSIDE,
    LETTER,
    QUOTE,
    Language,
    Rule,
    Scripts,
    quoted,
)

LATIN = "abcdefghijklmnopqrstuvwxyz"
# In names and loan words of Western languages.
ACCENTED = "àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿœ"
CYRILLIC = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"

# As Unicode's SpecialCasing.txt has it: both i with a dot and ı without one have a capital.
DOTTED_I = {"I": "ı", "İ": "i", "\u0307": ""}
# The stress, which dictionaries mark. Letters such as ѓ and ѝ are composed, and stay.
STRESS = {"\u0301": "", "\u0300": ""}
# Over and after vowels: question, exclamation and stress; and the mark of an abbreviation.
ARMENIAN_MARKS = dict.fromkeys("՞՜՛՟", "")
# Points and cantillation.
NIQQUD = {
    chr(c): "" for c in (*range(0x591, 0x5BE), 0x5BF, 0x5C1, 0x5C2, 0x5C4, 0x5C5, 0x5C7)
}  # fmt: skip
# Short vowels, doubling and marks of recitation; not the hamza and the madda, which letters have.
HARAKAT = {
    chr(c): "" for c in (*range(0x610, 0x61B), *range(0x64B, 0x653), *range(0x656, 0x660), 0x670)
}
# The letters of an Arabic keyboard, as Persian writes them.
PERSIAN = {"ي": "ی", "ى": "ی", "ك": "ک"}
# Two signs that look like one; a vowel that is typed as its two parts, around a tone.
THAI = {"เเ": "แ", **{f"ํ{tone}า": f"{tone}ำ" for tone in ("", *"่้๊๋")}}
LAO = {"ເເ": "ແ", **{f"ໍ{tone}າ": f"{tone}ຳ" for tone in ("", *"່້໊໋")}}
# Latin letters that are typed for the Cyrillic ones.
CHUVASH = dict(zip("ăĕçÿĂĔÇŸ", "ӑӗҫӳӐӖҪӲ"))
PALOCHKA = dict.fromkeys("IlІӀ", "ӏ")
# Greek letters that are typed for the Latin ones.
KABYLE = {"γ": "ɣ", "Γ": "ɣ", "ε": "ɛ", "Ε": "ɛ", "Σ": "ɛ"}

# The letters l of a geminate have a dot between them, or a full stop, in Catalan.
GEMINATE: Rule = (r"(?<=l)[·‧・･∙⋅•.](?=l)", "·")
DOT_INSIDE: Rule = (rf"(?<={LETTER})[·‧・･∙⋅•](?={LETTER})", "·")
HEBREW = "[א-ת]"
GERSHAYIM: Rule = (rf"(?<={HEBREW})[\"“”„‟″״](?={HEBREW})", "״")
GERESH: Rule = (rf"(?<={HEBREW})׳", "׳")


def before(letters: str, written: str) -> Language:
    """A language with an apostrophe that is a letter before some others, as in Hawaiian."""
    rules = ((rf"{APOSTROPHE}+(?={letters})", written),)
    return Language(Scripts("Latn", others=written), apostrophes=rules, quotation=quoted())


def after(letters: str, written: str, kept: str = "") -> Language:
    """A language with an apostrophe that is a letter after some others, also at a word's end."""
    rules = (
        (INSIDE[0], written),
        (rf"(?<={letters}){APOSTROPHE}", written),
        (rf"(?<={LETTER})[ʻʼ]", written),
    )
    return Language(Scripts("Latn", others=written), apostrophes=rules, quotation=quoted(kept=kept))


OKINA = before("[aeiouāēīōūáéíóú]", "ʻ")
GLOTTAL = after(LETTER, "ʼ")
VOWEL = "[aeiouàèéìîòù]"
CHINESE = Language(Scripts("Hani", others="〇"), {"～": " "}, spaced=False)
PALOCHKAS = Language(Scripts("Cyrl", others="'"), {**STRESS, **PALOCHKA}, apostrophes=(INSIDE,))
TURKIC = Language(replaced=DOTTED_I)

ALIKE = (
    (OKINA, "haw rap sm to ty"),
    # Mayan languages, others with ejectives, and Finnic ones with soft consonants.
    (GLOTTAL, "cak ixl kek krl mam nv olo poh quc tzh tzo vep vot yua"),
    (PALOCHKAS, "ady av ce dar inh kbd lbe lez tab"),
    (TURKIC, "az crh diq gag zza"),
)

# By CommonVoice's codes. A language that is not here has the letters of its script.
LANGUAGES = {
    # The languages of the paper.
    "es": Language(LATIN + "áéíñóúü"),
    "fr": Language(LATIN + "àâæçèéêëîïôùûüÿœ'"),
    "it": Language(LATIN + "àèéìíîòóùú'"),
    "ky": Language(CYRILLIC + "ңөү", STRESS),
    "nl": Language(LATIN + "àáâäçèéêëìíîïòóôöùúûü'"),
    "ru": Language(CYRILLIC, STRESS),
    "sv-SE": Language(LATIN + "àäåéöü"),
    "tr": Language("abcçdefgğhıijklmnoöprsştuüvyzâîû", DOTTED_I),
    "tt": Language(CYRILLIC + "әҗңөүһ", STRESS),
    "zh-TW": CHINESE,
    # Others whose alphabets are settled.
    "zh-CN": CHINESE,
    "zh-HK": CHINESE,
    "yue": CHINESE,
    "be": Language("абвгдеёжзійклмнопрстуўфхцчшыьэюя'", STRESS, apostrophes=(INSIDE,)),
    "bg": Language("абвгдежзийклмнопрстуфхцчшщъьюяѝ", STRESS),
    "ca": Language(LATIN + "àçèéíïñòóúü·'", marks=(GEMINATE,)),
    "de": Language(LATIN + ACCENTED + "ß'"),
    "en": Language(LATIN + ACCENTED + "'"),
    "mt": replace(
        after(rf"(?:{VOWEL}|(?<!{LETTER})[a-zċġħż])", "'", kept="ta|ma|sa|bi|fi"),
        letters=LATIN + "ċġħżàèéìîòóùú'",
    ),
    "pl": Language(LATIN + "ąćęłńóśźżéüöä'"),
    "ro": Language(LATIN + "ăâîșțéö'", {"ş": "ș", "ţ": "ț", "Ş": "ș", "Ţ": "ț"}),
    "uk": Language("абвгґдеєжзиіїйклмнопрстуфхцчшщьюя'", STRESS, apostrophes=(INSIDE,)),
    "uz": Language(
        "abcdefghijklmnopqrstuvxyzʻʼ",
        apostrophes=(
            (rf"(?<=[og]){APOSTROPHE}", "ʻ"),
            (INSIDE[0], "ʼ"),
            (rf"(?<=[aeiu]){APOSTROPHE}|(?<={LETTER})ʼ", "ʼ"),
        ),
        quotation=quoted(),
    ),
    # Scripts with habits of their own.
    "af": Language(
        apostrophes=(INSIDE, (rf"(?<!{LETTER}){APOSTROPHE}(?=[nstk](?!{LETTER}))", "'"))
    ),
    "ar": Language(Scripts("Arab"), {**HARAKAT, "ی": "ي", "ک": "ك"}),
    "ckb": Language(Scripts("Arab"), PERSIAN),
    "cv": Language(Scripts("Cyrl"), {**STRESS, **CHUVASH}),
    "fa": Language(Scripts("Arab"), {**HARAKAT, **PERSIAN}),
    "ha": replace(before("y", "ʼ"), apostrophes=((rf"{APOSTROPHE}+(?=y)", "ʼ"), (INSIDE[0], "ʼ"))),
    "he": Language(
        Scripts("Hebr", others="׳״"),
        NIQQUD,
        marks=(GERSHAYIM, GERESH),
        apostrophes=(
            (rf"(?<={HEBREW}){QUOTE}{{2}}(?={HEBREW})", "״"),
            (rf"(?<={HEBREW}){APOSTROPHE}", "׳"),
        ),
        quotation=quoted(),
    ),
    "hy-AM": Language(Scripts("Armn", others="'"), ARMENIAN_MARKS),
    "ja": Language(Scripts("Hira", "Kana", "Hani"), {"～": " ", "＝": " "}, spaced=False),
    "kab": Language(replaced=KABYLE),
    "km": Language(Scripts("Khmr"), spaced=False),
    "ko": Language(Scripts("Hang"), {"~": " ", "～": " ", "^": " "}),  # as people write in chats
    "ks": Language(Scripts("Arab")),  # its vowels are marks
    "lo": Language(Scripts("Laoo"), LAO, spaced=False),
    "my": Language(Scripts("Mymr"), spaced=False),
    "nan-tw": CHINESE,
    "oc": Language(Scripts("Latn", others="'·"), marks=(DOT_INSIDE,)),
    "so": after("[aeiou]", "'"),
    "th": Language(Scripts("Thai"), THAI, spaced=False),
    "ur": Language(Scripts("Arab"), {**HARAKAT, **PERSIAN, "ه": "ہ"}),
    **{code: language for language, codes in ALIKE for code in codes.split()},
}

# The script of languages without a row, where it is not Latin; from CLDR's likely subtags.
SCRIPTS = {
    "Arab": "acm aeb afb ajp apc apd ary arz azb bal bft bgn bqi brh bsk dcc gjk gju glk haz hno"
    " khw kls lrc lss mve mvy mzn phr pnb prs ps pst scl sd sdh skr trw ug uzs xhe",
    "Armn": "hyw",
    "Beng": "as bn bpy ctg mni syl",
    "Cher": "chr",
    "Cyrl": "ab alt ba bua bxr cu kjh kk koi kpv krc kum kv mdf mhr mk mn mrj myv nog os rue sah sr"
    " tg tyv udm",
    "Deva": "anp awa bho brx doi gom hi hne knn kok mag mai mr mwr ne new raj sa",
    "Ethi": "am byn gez ti tig wal",
    "Geor": "ka sva xmf",
    "Grek": "el grc pnt",
    "Gujr": "gu",
    "Guru": "pa",
    "Hani": "cdo gan hak hsn lzh nan wuu zh",
    "Hebr": "lad yi",
    "Knda": "kn tcy",
    "Mlym": "ml",
    "Mymr": "blk ksw mnw shn",
    "Nkoo": "nqo",
    "Olck": "sat",
    "Orya": "or",
    "Sinh": "si",
    "Syrc": "aii syr",
    "Taml": "ta",
    "Telu": "te",
    "Tfng": "zgh shi",
    "Thaa": "dv",
    "Tibt": "bo dz",
}  # fmt: skip
WITH_APOSTROPHE = ("Cyrl", "Grek", "Hebr")  # and Latin, where no row says otherwise


def by_script(script: str) -> Language:
    """A language of which only the script is known."""
    if script == "Hani":
        return CHINESE
    replaced = {"Arab": HARAKAT, "Armn": ARMENIAN_MARKS, "Cyrl": STRESS}.get(script, {})
    others = "'" if script in WITH_APOSTROPHE else ""
    return Language(Scripts(script, others=others), replaced, apostrophes=(INSIDE,))


def language_of(code: str) -> Language:
    """The row of a language, or of its script.

    Args:
        code: a code of CommonVoice. Where the code as it stands is unknown, its first part counts,
            so "sv" is "sv-SE" and "pa" is "pa-IN".
    """
    base = code.partition("-")[0]
    for known, language in LANGUAGES.items():
        if code == known or (code not in LANGUAGES and base == known.partition("-")[0]):
            return language
    return next((by_script(s) for s, codes in SCRIPTS.items() if base in codes.split()), Language())
