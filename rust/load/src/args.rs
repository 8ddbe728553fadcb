//! The words of the command line: a command, then `--name value` pairs.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use crate::failure::{Failure, Result};

pub struct Args {
    values: HashMap<String, String>,
    used: RefCell<HashSet<String>>,
}

impl Args {
    /// The command and its options. Fails on a name without `--` or without a value.
    pub fn parse(words: Vec<String>) -> Result<(String, Args)> {
        let mut words = words.into_iter();
        let command = words.next().ok_or_else(|| Failure::new("which command?"))?;
        let mut values = HashMap::new();
        while let Some(word) = words.next() {
            let name = word
                .strip_prefix("--")
                .ok_or_else(|| Failure::new(format!("expected --name value, and found {word}")))?;
            let value = words.next().ok_or_else(|| Failure::new(format!("{word} has no value")))?;
            values.insert(name.to_owned(), value);
        }
        Ok((command, Args { values, used: RefCell::default() }))
    }

    pub fn optional<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        self.used.borrow_mut().insert(name.to_owned());
        let Some(text) = self.values.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Failure::new(format!("--{name} {text} is not a valid value"))),
        }
    }

    pub fn or<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        Ok(self.optional(name)?.unwrap_or(default))
    }

    pub fn required<T: FromStr>(&self, name: &str) -> Result<T> {
        self.optional(name)?.ok_or_else(|| Failure::new(format!("--{name} is missing")))
    }

    /// Fails if an option was given that the command does not know.
    pub fn all_used(&self) -> Result<()> {
        let used = self.used.borrow();
        let mut unknown: Vec<_> = self.values.keys().filter(|name| !used.contains(*name)).collect();
        unknown.sort();
        match unknown.first() {
            None => Ok(()),
            Some(name) => Err(Failure::new(format!("the command knows no --{name}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn values_are_found_by_name() {
        let (command, args) = Args::parse(words("produce --seconds 3 --topic t")).unwrap();
        assert_eq!(command, "produce");
        assert_eq!(args.required::<u64>("seconds").unwrap(), 3);
        assert_eq!(args.or("connections", 8).unwrap(), 8);
        assert_eq!(args.optional::<u64>("rate").unwrap(), None);
    }

    #[test]
    fn a_missing_or_bad_value_names_its_option() {
        let (_, args) = Args::parse(words("produce --seconds soon")).unwrap();
        assert!(
            args.required::<u64>("seconds").unwrap_err().to_string().contains("--seconds soon")
        );
        assert!(args.required::<String>("topic").unwrap_err().to_string().contains("--topic"));
        assert!(Args::parse(words("produce --seconds")).is_err());
        assert!(Args::parse(words("produce seconds 3")).is_err());
    }

    #[test]
    fn an_option_nobody_asked_for_is_refused() {
        let (_, args) = Args::parse(words("produce --secnds 3")).unwrap();
        assert!(args.all_used().unwrap_err().to_string().contains("--secnds"));
    }
}
