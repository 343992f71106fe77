//! A question on a terminal.

use std::io::{self, BufRead, Read, Write};

use crate::init::Question;

/// No sensible answer is longer, in bytes.
const LONGEST: u64 = 4096;

/// Asks until `take` accepts the answer. A number picks a candidate, where there are some.
pub(super) fn until(
    question: &Question,
    input: &mut impl BufRead,
    output: &mut impl Write,
    mut take: impl FnMut(&str) -> Result<(), String>,
) -> io::Result<()> {
    writeln!(output, "\nWhat is {}?\n  ({})", question.wanted, question.cause)?;
    for (number, candidate) in question.candidates.iter().enumerate() {
        writeln!(output, "  {}. {} ({})", number + 1, candidate.value, candidate.from)?;
    }
    loop {
        write!(output, "{}> ", question.topic.flag().trim_start_matches('-'))?;
        output.flush()?;
        let mut line = String::new();
        if input.by_ref().take(LONGEST).read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the input has ended"));
        }
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let picked =
            line.parse::<usize>().ok().and_then(|number| question.candidates.get(number.checked_sub(1)?));
        let answer = picked.map_or(line, |candidate| candidate.value.as_str());
        match take(answer) {
            Ok(()) => return Ok(()),
            Err(wrong) => writeln!(output, "  {} {wrong}", answer.escape_debug())?,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::init::{Chosen, Topic};

    fn asked(input: &str) -> (io::Result<()>, String, String) {
        let question = Question {
            topic: Topic::Unit,
            wanted: "the unit".to_owned(),
            cause: "two".to_owned(),
            candidates: ["a", "b"]
                .map(|name| Chosen { value: name.to_owned(), from: "f".to_owned() })
                .to_vec(),
        };
        let mut output = Vec::new();
        let mut taken = String::new();
        let result = until(&question, &mut input.as_bytes(), &mut output, |text| match text {
            "no" => Err("is wrong".to_owned()),
            text => {
                text.clone_into(&mut taken);
                Ok(())
            }
        });
        (result, taken, String::from_utf8(output).unwrap())
    }

    #[test]
    fn a_number_picks_a_candidate() {
        assert_eq!(asked("2\n").1, "b");
        assert_eq!(asked("3\n").1, "3");
        assert_eq!(asked("0\n").1, "0");
        assert_eq!(asked("c\n").1, "c");
    }

    #[test]
    fn asks_again_until_the_answer_fits_or_the_input_ends() {
        let (result, taken, output) = asked("no\n\n a \n");
        assert_eq!((result.is_ok(), taken.as_str()), (true, "a"));
        assert!(output.contains("1. a (f)") && output.contains("no is wrong"), "{output}");
        assert!(asked("no\n").0.is_err());
    }
}
