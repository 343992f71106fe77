//! Values as the server takes them (`mysys/my_getopt.c`).

/// `ON`, `TRUE` and `1` or `OFF`, `FALSE` and `0`, in any case; every other number but 0 is on.
pub fn boolean(value: &str) -> Option<bool> {
    let value = value.trim();
    if ["on", "true"].iter().any(|on| value.eq_ignore_ascii_case(on)) {
        return Some(true);
    }
    if ["off", "false"].iter().any(|off| value.eq_ignore_ascii_case(off)) {
        return Some(false);
    }
    value.parse::<i64>().ok().map(|number| number != 0)
}

/// A number, perhaps with one of K, M, G, T, P and E, in any case: powers of 1024.
pub fn size(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = value.split_at(digits);
    let shift = match suffix {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        "p" | "P" => 50,
        "e" | "E" => 60,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}
