//! Names that the servers encode when they make a file of them.

/// Names that both products take for a table. Those of the blocks at the end go through all of the letters that have a
/// short form in a file's name, see `tablename_to_filename` and `my_charset_filename` in the servers' sources.
pub(crate) fn odd() -> Vec<String> {
    let mut names: Vec<String> = [
        "with space",
        " leading space",
        "quo'te",
        "dou\"ble",
        "back`tick",
        "``",
        "back\\slash",
        "ha#sh",
        "#sql-like",
        "#sql-ib12-345",
        "#sql2-1f-3",
        "dot.ted",
        ".hidden",
        "..",
        "trailing.",
        "file.MYD",
        "file.frm",
        "sla/sh",
        "../escape",
        "per%cent",
        "semi;colon",
        "comma,comma",
        "dollar$",
        "a-b",
        "a_b",
        "_",
        "-",
        "*",
        "?",
        "at@sign",
        "@0023",
        "@@@",
        "CON@@@",
        "1starts_with_digit",
        "123",
        "1e5",
        "select",
        "CamelCase",
        "camelcase",
        // Words that are devices to other systems.
        "CON",
        "nul",
        "com1",
        // What would be the files of a partition, were the sign not encoded.
        "p#P#p0",
        "p#p#p0",
        "p#P#p0#SP#s0",
        "tab\tnew\nline\rend",
        "\u{1}control\u{1f}",
        "öäüß",
        "ÀÉÎÕÇ",
        "e\u{301} combined",
        "İı ſ ŉ",
        "ǅ Ǆ ǆ",
        "Ωμέγα ΐ",
        "Ἀχιλλεύς",
        "Жуки и ёж",
        "Հայերեն",
        "עברית",
        "العربية",
        "ไทย",
        "日本語 テーブル",
        "中文表",
        "한국어",
        "ﬁ",
        "Ａｂ",
        "€ ™",
        "soft\u{ad}hyphen zero\u{200b}width",
        "\u{feff}mark",
        "\u{ffff}",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("x".repeat(64));
    names.push("ä".repeat(64));
    // Five bytes each in a file's name, which may have 255 with its extension.
    names.push("語".repeat(49));
    for block in [0xa0..0x600, 0x1e00..0x2000, 0x2150..0x2190, 0x24b0..0x24f0, 0xff20..0xff60] {
        let letters: Vec<char> = block.filter_map(char::from_u32).collect();
        names.extend(letters.chunks(40).map(|chunk| chunk.iter().collect::<String>()));
    }
    names
}

/// A schema's name with what is hard about one.
pub(crate) const ODD_SCHEMA: &str = "Ünï/çö.dé #1 `日本`";

/// As SQL quotes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
