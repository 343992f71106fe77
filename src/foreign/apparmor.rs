//! AppArmor: the kernel's list of profiles, and the rules about files in a profile (apparmor.d(5)).

/// The mode (`enforce`, `complain`, …) of a profile in `/sys/kernel/security/apparmor/profiles`, by one of its possible
/// names.
pub fn mode_of<'a>(listing: &'a str, names: &[&str]) -> Option<(&'a str, &'a str)> {
    listing.lines().find_map(|line| {
        let (name, mode) = line.trim_end().rsplit_once(" (")?;
        names.contains(&name).then_some((name, mode.trim_end_matches(')')))
    })
}

/// The rules about files: pattern and permissions. Deny rules, variables and included abstractions are left out, so that
/// what is found to be allowed is surely so.
pub fn file_rules(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(file_rule).collect()
}

fn file_rule(line: &str) -> Option<(String, String)> {
    let line = line.trim().trim_start_matches("owner ").trim_start_matches("file ").trim_start();
    let line = line.split_once(",").map_or(line, |(rule, _)| {
        // A comma inside braces belongs to the pattern.
        if rule.matches('{').count() > rule.matches('}').count() { line.trim_end_matches(',') } else { rule }
    });
    let (pattern, permissions) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => line.split_once([' ', '\t'])?,
    };
    let permissions = permissions.trim().trim_end_matches(',');
    let plain = !permissions.is_empty() && permissions.chars().all(|c| "rwaklmixupcPUC".contains(c));
    (pattern.starts_with(['/', '{']) && plain).then(|| (pattern.to_owned(), permissions.to_owned()))
}

/// Whether a pattern of a rule matches a path: `*` within a directory, `**` across directories, `?`, `{a,b}`.
pub fn matches(pattern: &str, path: &str) -> bool {
    // Patterns are short; more alternatives than this are not written by people.
    expand(pattern, 256).iter().any(|pattern| glob(pattern.as_bytes(), path.as_bytes()))
}

/// Every combination of the alternatives in braces, at most so many.
fn expand(pattern: &str, limit: usize) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(pattern) = open.pop() {
        if done.len() + open.len() >= limit {
            break;
        }
        let inner = pattern.rfind('{').and_then(|begin| {
            let end = begin + pattern.get(begin..)?.find('}')?;
            Some((begin, end))
        });
        let Some((begin, end)) = inner else {
            done.push(pattern);
            continue;
        };
        for part in pattern[begin + 1..end].split(',') {
            open.push(format!("{}{part}{}", &pattern[..begin], &pattern[end + 1..]));
        }
    }
    done
}

fn glob(pattern: &[u8], path: &[u8]) -> bool {
    // Where to go on when the rest does not fit: the pattern after the last star, and the path that it swallowed so far.
    // Two of them, because a `*` inside a `**` must not give up what the `**` could still swallow.
    let (mut p, mut s) = (0, 0);
    let mut single: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p..p + 2) == Some(b"**") {
            p += 2;
            (double, single) = (Some((p, s)), None);
            continue;
        }
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            single = Some((p, s));
            continue;
        }
        match (pattern.get(p), path.get(s)) {
            (None, None) => return true,
            (Some(b'?'), Some(c)) if *c != b'/' => (p, s) = (p + 1, s + 1),
            (Some(a), Some(b)) if a == b => (p, s) = (p + 1, s + 1),
            _ => {
                if let Some((after, from)) = single
                    && path.get(from).is_some_and(|c| *c != b'/')
                {
                    single = Some((after, from + 1));
                    (p, s) = (after, from + 1);
                } else if let Some((after, from)) = double
                    && from < path.len()
                {
                    (double, single) = (Some((after, from + 1)), None);
                    (p, s) = (after, from + 1);
                } else {
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PROFILE: &str = "#include <tunables/global>\n/usr/sbin/mysqld {\n  capability dac_override,\n  \
        /etc/mysql/** r,\n  owner /tmp/** lk,\n  /var/lib/mysql/ r,\n  /var/lib/mysql/** rwk,\n  \
        /{,var/}run/mysqld/mysqld.sock w,\n  \"/srv/my data/**\" rw,\n  deny /x w,\n  @{PROC}/1 r,\n}\n";

    #[test]
    fn reads_the_rules_of_a_profile() {
        let rules = file_rules(PROFILE);
        let patterns: Vec<&str> = rules.iter().map(|(pattern, _)| pattern.as_str()).collect();
        assert_eq!(
            patterns,
            [
                "/etc/mysql/**",
                "/tmp/**",
                "/var/lib/mysql/",
                "/var/lib/mysql/**",
                "/{,var/}run/mysqld/mysqld.sock",
                "/srv/my data/**"
            ]
        );
        assert_eq!(rules[3].1, "rwk");
    }

    #[test]
    fn patterns_match_as_the_manual_says() {
        for (pattern, path, wanted) in [
            ("/var/lib/mysql/**", "/var/lib/mysql/a/b", true),
            ("/var/lib/mysql/**", "/var/lib/mysql-2/a", false),
            ("/var/log/*.log", "/var/log/x.log", true),
            ("/var/log/*.log", "/var/log/a/x.log", false),
            ("/{,var/}run/my?qld.sock", "/var/run/mysqld.sock", true),
            ("/{,var/}run/my?qld.sock", "/run/mysqld.sock", true),
            ("/**/x/*", "/a/x/b/x/c", true),
            ("/a", "/a/b", false),
        ] {
            assert_eq!(matches(pattern, path), wanted, "{pattern} {path}");
        }
    }

    #[test]
    fn finds_a_profile_by_any_of_its_names() {
        let listing = "/usr/sbin/ntpd (enforce)\nmariadbd (complain)\n";
        assert_eq!(mode_of(listing, &["/usr/sbin/mariadbd", "mariadbd"]), Some(("mariadbd", "complain")));
        assert_eq!(mode_of(listing, &["/usr/sbin/mysqld"]), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,200}", path in "[a-z/*{},]{0,30}") {
            let _ = file_rules(&text);
            let _ = mode_of(&text, &["x"]);
            let _ = matches(&text, &path);
            let _ = matches(&path, &text);
        }

        #[test]
        fn a_path_matches_itself(path in "/[a-z/.]{0,30}") {
            prop_assert!(matches(&path, &path));
        }
    }
}
