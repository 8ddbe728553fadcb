//! The schemas: what the compact schema file says about each message.
//!
//! The file is compiled in. A message is parsed when it is first asked for, and its plan for a
//! version when that version is first used.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use crate::plan::Plan;

const TEXT: &str = include_str!("../../../src/automq/protocol/schemas/kafka.schema");

static MESSAGES: LazyLock<HashMap<&'static str, Entry>> = LazyLock::new(index);

struct Entry {
    lines: &'static str,
    parsed: OnceLock<Message>,
}

/// The message called `name`, or None if there is none or if Kafka retired all its versions.
pub fn message(name: &str) -> Option<&'static Message> {
    let entry = MESSAGES.get(name)?;
    Some(entry.parsed.get_or_init(|| parse_message(entry.lines)))
}

/// The names of all messages, in the order of the file.
pub fn names() -> impl Iterator<Item = &'static str> {
    blocks().map(|(name, _)| name)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    /// Its index in [`Message::structs`].
    Struct(usize),
}

/// The type of a field: one value or an array of them. Kafka has no arrays of arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub kind: Kind,
    pub array: bool,
}

/// The value of a field that a version does not carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// Zero, false, empty, or for a struct the one whose fields are all at their defaults.
    Zero,
    Null,
    True,
    Integer(i64),
}

/// Versions `first..=last`; none if `first > last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub first: i16,
    pub last: i16,
}

impl Versions {
    const ALL: Self = Self { first: 0, last: i16::MAX };
    const NONE: Self = Self { first: 0, last: -1 };

    pub fn contain(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }

    fn parse(text: &str) -> Self {
        if text == "none" {
            return Self::NONE;
        }
        let number = |digits: &str| digits.parse::<i16>().expect("a version in the schema file");
        match (text.strip_suffix('+'), text.split_once('-')) {
            (Some(first), _) => Self { first: number(first), last: i16::MAX },
            (None, Some((first, last))) => Self { first: number(first), last: number(last) },
            (None, None) => Self { first: number(text), last: number(text) },
        }
    }
}

#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub(crate) versions: Versions,
    pub(crate) nullable: Versions,
    /// The tag, and the versions in which the field is tagged.
    pub(crate) tagged: Option<(u32, Versions)>,
    pub default: Default,
    pub(crate) ignorable: bool,
    /// Its length is never compact, not even in flexible versions.
    pub(crate) rigid: bool,
}

#[derive(Debug)]
pub struct Struct {
    pub name: &'static str,
    pub fields: Vec<Field>,
}

pub struct Message {
    pub name: &'static str,
    /// "request", "response", "header", "data", "coordinator-key" or "coordinator-value".
    pub kind: &'static str,
    pub api_key: Option<i16>,
    pub versions: Versions,
    pub flexible: Versions,
    /// The message itself comes first.
    pub structs: Vec<Struct>,
    plans: Vec<OnceLock<Plan>>,
}

impl Message {
    /// How `version` looks on the wire; None outside [`Message::versions`].
    pub(crate) fn plan(&self, version: i16) -> Option<&Plan> {
        let index = usize::try_from(version.checked_sub(self.versions.first)?).ok()?;
        Some(self.plans.get(index)?.get_or_init(|| Plan::new(self, version)))
    }

    /// Whether some version can carry tagged fields, and so ones we do not know.
    pub fn can_be_flexible(&self) -> bool {
        self.flexible != Versions::NONE
    }
}

fn blocks() -> impl Iterator<Item = (&'static str, &'static str)> {
    TEXT.split("\n\n").filter(|block| !block.starts_with('#')).filter_map(|block| {
        let head = block.lines().next()?;
        let alive = !head.contains("versions=none");
        alive.then(|| (head.split(' ').next().unwrap_or(head), block))
    })
}

fn index() -> HashMap<&'static str, Entry> {
    blocks().map(|(name, lines)| (name, Entry { lines, parsed: OnceLock::new() })).collect()
}

// The file is our own and compiled in: a mistake in it is found by the test that parses all of it.
fn parse_message(lines: &'static str) -> Message {
    let mut lines = lines.lines();
    let head = lines.next().expect("a head line");
    let mut words = head.split(' ');
    let name = words.next().expect("a name");
    let kind = words.next().expect("a kind");
    let mut message = Message {
        name,
        kind,
        api_key: None,
        versions: Versions::NONE,
        flexible: Versions::NONE,
        structs: vec![Struct { name, fields: Vec::new() }],
        plans: Vec::new(),
    };
    for (fact, value) in words.filter_map(|word| word.split_once('=')) {
        match fact {
            "key" => message.api_key = value.parse().ok(),
            "versions" => message.versions = Versions::parse(value),
            "flexible" => message.flexible = Versions::parse(value),
            _ => panic!("{name}: {fact}"),
        }
    }
    let mut open = vec![0];
    for line in lines {
        parse_line(&mut message, &mut open, line);
    }
    let versions = message.versions.first..=message.versions.last;
    message.plans = versions.map(|_| OnceLock::new()).collect();
    message
}

/// `open` holds the structs that the next line may belong to, by depth.
fn parse_line(message: &mut Message, open: &mut Vec<usize>, line: &'static str) {
    let text = line.trim_start_matches(' ');
    open.truncate((line.len() - text.len()) / 2);
    let mut words = text.split(' ');
    let name = words.next().expect("a name");
    let type_name = words.next().expect("a type");
    if name == "struct" {
        open.push(struct_index(message, type_name));
        return;
    }
    let array = type_name.starts_with("[]");
    let element = type_name.trim_start_matches("[]");
    let kind = parse_kind(message, element);
    let mut field = Field {
        name,
        shape: Shape { kind, array },
        versions: Versions::ALL,
        nullable: Versions::NONE,
        tagged: None,
        default: Default::Zero,
        ignorable: false,
        rigid: false,
    };
    // Kafka: `records` have no other default than null.
    if kind == Kind::Records {
        field.default = Default::Null;
    }
    for word in words {
        parse_fact(&mut field, word);
    }
    let owner = *open.last().expect("a struct that is open");
    message.structs[owner].fields.push(field);
    if let Kind::Struct(index) = kind {
        open.push(index);
    }
}

fn parse_fact(field: &mut Field, word: &str) {
    match word.split_once('=') {
        Some(("null", versions)) => field.nullable = Versions::parse(versions),
        Some(("default", "null")) => field.default = Default::Null,
        Some(("default", "true")) => field.default = Default::True,
        Some(("default", number)) => {
            field.default = Default::Integer(number.parse().expect("a number"));
        }
        Some(("tag", tag)) => {
            let (tag, versions) = tag.split_once('@').expect("tag@versions");
            field.tagged = Some((tag.parse().expect("a tag"), Versions::parse(versions)));
        }
        Some(_) => panic!("{word}"),
        None if word == "ignorable" => field.ignorable = true,
        None if word == "rigid" => field.rigid = true,
        None => field.versions = Versions::parse(word),
    }
}

fn parse_kind(message: &mut Message, name: &'static str) -> Kind {
    match name {
        "bool" => Kind::Bool,
        "int8" => Kind::Int8,
        "int16" => Kind::Int16,
        "uint16" => Kind::Uint16,
        "int32" => Kind::Int32,
        "uint32" => Kind::Uint32,
        "int64" => Kind::Int64,
        "float64" => Kind::Float64,
        "uuid" => Kind::Uuid,
        "string" => Kind::String,
        "bytes" => Kind::Bytes,
        "records" => Kind::Records,
        _ => Kind::Struct(struct_index(message, name)),
    }
}

fn struct_index(message: &mut Message, name: &'static str) -> usize {
    if let Some(index) = message.structs.iter().position(|each| each.name == name) {
        return index;
    }
    message.structs.push(Struct { name, fields: Vec::new() });
    message.structs.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_parses_and_has_a_plan_for_each_version() {
        let mut count = 0;
        for name in names() {
            let message = message(name).expect(name);
            assert!(message.structs.iter().all(|each| !each.name.is_empty()), "{name}");
            for version in message.versions.first..=message.versions.last {
                assert!(message.plan(version).is_some(), "{name} {version}");
            }
            assert!(message.plan(message.versions.last + 1).is_none());
            count += 1;
        }
        assert!(count > 200, "{count}");
    }

    #[test]
    fn a_retired_message_is_not_found() {
        assert!(message("LeaderAndIsrRequest").is_none());
        assert!(message("NoSuchRequest").is_none());
    }
}
