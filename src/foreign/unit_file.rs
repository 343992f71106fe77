//! systemd unit files (systemd.syntax(7), systemd.service(5)): only the command that a service starts.

use std::collections::BTreeMap;

/// The words of the last `ExecStart=` command of a unit file and its drop-ins, in the order in which systemd reads them.
/// An empty assignment forgets what came before. Words that are variables (`$OPTIONS`) stay as they are written.
pub fn exec_start<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Vec<String>> {
    let mut command = None;
    for text in texts {
        let mut in_service = false;
        for line in logical_lines(text) {
            if let Some(section) = line.strip_prefix('[') {
                in_service = section.trim_end() == "Service]";
            } else if in_service
                && let Some((key, value)) = line.split_once('=')
                && key.trim_end() == "ExecStart"
            {
                let words = words(value.trim_start().trim_start_matches(['-', '@', ':', '+', '!']));
                command = (!words.is_empty()).then_some(words);
            }
        }
    }
    command
}

/// The command that a shell is given with `-c` and that `is_wanted` knows by its program, as in
/// `/bin/sh -c "…; exec /usr/sbin/mariadbd $OPTIONS"`; any other command comes back as it is.
pub fn without_shell(command: Vec<String>, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let [shell, flag, script, ..] = command.as_slice() else { return command };
    let shell = shell.rsplit('/').next().unwrap_or_default();
    if flag != "-c" || !["sh", "dash", "bash"].contains(&shell) {
        return command;
    }
    let separated: String = script
        .chars()
        .flat_map(|c| if "\n;|&`()".contains(c) { vec![' ', ';', ' '] } else { vec![c] })
        .collect();
    let tokens: Vec<&str> = separated.split_whitespace().collect();
    match tokens.iter().rposition(|token| is_wanted(token)) {
        Some(at) => {
            tokens[at..].iter().take_while(|token| **token != ";").map(|&token| token.to_owned()).collect()
        }
        None => command,
    }
}

/// Every setting as `Section.Key`; the values of one that stands several times are joined by line breaks, and an empty
/// assignment forgets what came before.
pub fn settings<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for text in texts {
        let mut section = "";
        let lines = logical_lines(text);
        for line in &lines {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end().trim_end_matches(']');
            } else if let Some((key, value)) = line.split_once('=') {
                let values = found.entry(format!("{section}.{}", key.trim_end())).or_default();
                match value.trim() {
                    "" => values.clear(),
                    value if values.is_empty() => value.clone_into(values),
                    value => *values += &format!("\n{value}"),
                }
            }
        }
    }
    found
}

/// Lines without comments, joined where a backslash ends them; the backslash counts as a blank, and comments in between
/// are left out.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut begun: Option<String> = None;
    for line in text.lines() {
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        let (part, goes_on) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        let joined = begun.get_or_insert_default();
        joined.push_str(part);
        if goes_on {
            joined.push(' ');
        } else {
            lines.extend(begun.take().map(|line| line.trim().to_owned()));
        }
    }
    lines.extend(begun.map(|line| line.trim().to_owned()));
    lines
}

/// Words as systemd splits them: at white space, with quotes around a whole word or a part of it.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) => word.get_or_insert_default().extend(chars.next()),
            (_, Some(open)) if c == open => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            _ if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(texts: &[&str]) -> Option<String> {
        exec_start(texts.iter().copied()).map(|words| words.join("|"))
    }

    #[test]
    fn the_last_command_counts() {
        let unit = "[Unit]\nExecStart=/no\n[Service]\n# ExecStart=/no\nExecStartPre=/no\nExecStart = -/usr/sbin/mysqld \\\n\
                    # between\n  --a='x y' $OPTIONS\nExecStop=/no\n[Install]\nExecStart=/no\n";
        assert_eq!(of(&[unit]).as_deref(), Some("/usr/sbin/mysqld|--a=x y|$OPTIONS"));
        assert_eq!(of(&[unit, "[Service]\nExecStart=\nExecStart=/b \"c d\"\n"]).as_deref(), Some("/b|c d"));
        assert_eq!(of(&[unit, "[Service]\nExecStart=\n"]), None);
        assert_eq!(of(&["[Service]\nExecStart=/a \\"]).as_deref(), Some("/a"));
    }

    #[test]
    fn a_command_inside_a_shell() {
        let is_server = |word: &str| word.ends_with("/mariadbd");
        let inside = |command: &[&str]| {
            without_shell(command.iter().map(|&word| word.to_owned()).collect(), is_server).join("|")
        };
        let script = "set -f; [ -e /x ] && V= || V=`/x`; [ $? -eq 0 ] || exit 1; exec /usr/sbin/mariadbd $O --a=b $V;y";
        assert_eq!(inside(&["/bin/sh", "-c", script]), "/usr/sbin/mariadbd|$O|--a=b|$V");
        assert_eq!(inside(&["/bin/sh", "-c", "exec /x"]), "/bin/sh|-c|exec /x");
        assert_eq!(inside(&["/usr/sbin/mariadbd", "-c", "/y/mariadbd"]), "/usr/sbin/mariadbd|-c|/y/mariadbd");
        assert_eq!(inside(&["/bin/sh"]), "/bin/sh");
    }

    #[test]
    fn settings_are_joined_and_forgotten() {
        let found = settings([
            "[Service]\nUser=a\nEnvironment=A=1\nEnvironment=B=2\n",
            "[Service]\nUser=\nUser = b\n",
        ]);
        let shown: Vec<String> = found.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(shown, ["Service.Environment=A=1\nB=2", "Service.User=b"]);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,200}", command in "[ab\"'\\\\ \n$;#]{0,40}") {
            of(&[&text]);
            of(&[&format!("[Service]\nExecStart={command}")]);
        }
    }
}
