//! The codec over a plain tree: every message and version there and back, without Python.

use automq_codec::{
    Builder, Default, Fault, Kind, Message, Segment, Shape, Source, decode, encode, message, names,
};
use bytes::Bytes;

#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Tree>),
    Struct(Vec<Tree>, Vec<(u32, Bytes)>),
}

struct Trees(&'static Message);

impl Trees {
    fn default_struct(&self, index: usize) -> Tree {
        let count = self.0.structs[index].fields.len();
        let fields = (0..count).map(|position| self.default_field(index, position));
        Tree::Struct(fields.collect(), Vec::new())
    }

    fn default_field(&self, index: usize, position: usize) -> Tree {
        let field = &self.0.structs[index].fields[position];
        match (field.shape, field.default) {
            (_, Default::Null) => Tree::Null,
            (Shape { array: true, .. }, _) => Tree::Array(Vec::new()),
            (Shape { kind: Kind::Struct(inner), .. }, _) => self.default_struct(inner),
            (_, Default::Integer(number)) => Tree::Integer(number),
            (Shape { kind: Kind::Bool, .. }, default) => Tree::Bool(default == Default::True),
            (Shape { kind: Kind::Float64, .. }, _) => Tree::Float(0.0),
            (Shape { kind: Kind::String, .. }, _) => Tree::Text(String::new()),
            (Shape { kind: Kind::Uuid, .. }, _) => Tree::Bytes(vec![0; 16]),
            (Shape { kind: Kind::Bytes, .. }, _) => Tree::Bytes(Vec::new()),
            _ => Tree::Integer(0),
        }
    }
}

impl Builder for Trees {
    type Value = Tree;
    type Error = std::convert::Infallible;

    fn null(&mut self) -> Tree {
        Tree::Null
    }

    fn boolean(&mut self, value: bool) -> Tree {
        Tree::Bool(value)
    }

    fn integer(&mut self, value: i64) -> Result<Tree, Self::Error> {
        Ok(Tree::Integer(value))
    }

    fn float(&mut self, value: f64) -> Result<Tree, Self::Error> {
        Ok(Tree::Float(value))
    }

    fn text(&mut self, value: &str) -> Result<Tree, Self::Error> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn bytes(&mut self, value: &[u8]) -> Result<Tree, Self::Error> {
        Ok(Tree::Bytes(value.to_vec()))
    }

    fn records(&mut self, start: usize, end: usize) -> Result<Tree, Self::Error> {
        Ok(Tree::Bytes(vec![b'r'; end - start]))
    }

    fn default(&mut self, structure: usize, field: usize) -> Result<Tree, Self::Error> {
        Ok(self.default_field(structure, field))
    }

    fn array(&mut self, stack: &mut Vec<Tree>, base: usize) -> Result<Tree, Self::Error> {
        Ok(Tree::Array(stack.split_off(base)))
    }

    fn structure(
        &mut self,
        _structure: usize,
        stack: &mut Vec<Tree>,
        base: usize,
        unknown: &[(u32, &[u8])],
    ) -> Result<Tree, Self::Error> {
        let unknown = unknown.iter().map(|(tag, data)| (*tag, Bytes::copy_from_slice(data)));
        Ok(Tree::Struct(stack.split_off(base), unknown.collect()))
    }
}

fn wrong<T>(value: &Tree) -> Result<T, String> {
    Err(format!("is {value:?}"))
}

impl Source for Trees {
    type Value = Tree;

    fn field(&self, of: &Tree, _structure: usize, field: usize) -> Result<Tree, String> {
        let Tree::Struct(fields, _) = of else { return wrong(of) };
        Ok(fields[field].clone())
    }

    fn unknown_tagged_fields(&self, of: &Tree, _: usize) -> Result<Vec<(u32, Bytes)>, String> {
        let Tree::Struct(_, unknown) = of else { return wrong(of) };
        Ok(unknown.clone())
    }

    fn is_null(&self, value: &Tree) -> bool {
        *value == Tree::Null
    }

    fn boolean(&self, value: &Tree) -> Result<bool, String> {
        if let Tree::Bool(value) = value { Ok(*value) } else { wrong(value) }
    }

    fn integer(&self, value: &Tree) -> Result<i64, String> {
        if let Tree::Integer(value) = value { Ok(*value) } else { wrong(value) }
    }

    fn float(&self, value: &Tree) -> Result<f64, String> {
        if let Tree::Float(value) = value { Ok(*value) } else { wrong(value) }
    }

    fn text<'a>(&self, value: &'a Tree) -> Result<&'a str, String> {
        if let Tree::Text(value) = value { Ok(value) } else { wrong(value) }
    }

    fn bytes<'a>(&self, value: &'a Tree) -> Result<&'a [u8], String> {
        if let Tree::Bytes(value) = value { Ok(value) } else { wrong(value) }
    }

    fn records(&self, value: &Tree) -> Result<Vec<Bytes>, String> {
        Ok(vec![Bytes::copy_from_slice(self.bytes(value)?)])
    }

    fn count(&self, array: &Tree) -> Result<usize, String> {
        if let Tree::Array(elements) = array { Ok(elements.len()) } else { wrong(array) }
    }

    fn element(&self, array: &Tree, index: usize) -> Result<Tree, String> {
        if let Tree::Array(elements) = array { Ok(elements[index].clone()) } else { wrong(array) }
    }
}

fn written(message: &'static Message, version: i16, value: &Tree) -> Result<Vec<u8>, String> {
    let segments = encode(message, version, value, &Trees(message), Vec::new(), usize::MAX);
    match segments.map_err(|error| format!("{}: {}", error.path(), error.why()))?.as_slice() {
        [Segment::Written(bytes)] => Ok(bytes.clone()),
        other => Err(format!("{other:?}")),
    }
}

fn read(message: &'static Message, version: i16, bytes: &[u8]) -> Result<Tree, String> {
    decode(message, version, bytes, 0, &mut Trees(message)).map_err(|fault| match fault {
        Fault::Malformed(error) => format!("{}: {}", error.path(), error.why()),
        Fault::Builder(never) => match never {},
    })
}

#[test]
fn the_default_of_every_message_and_version_comes_back() {
    for message in names().filter_map(message) {
        for version in message.versions.first..=message.versions.last {
            let value = Trees(message).default_struct(0);
            let bytes = written(message, version, &value).expect(message.name);
            assert_eq!(read(message, version, &bytes), Ok(value), "{} {version}", message.name);
        }
    }
}

#[test]
fn known_and_unknown_tags_are_written_in_the_order_of_their_numbers() {
    let message = message("FetchSnapshotRequest").expect("a message");
    let mut value = Trees(message).default_struct(0);
    let Tree::Struct(fields, unknown) = &mut value else { unreachable!() };
    fields[0] = Tree::Text("c".to_owned());
    unknown.push((7, Bytes::from_static(b"later")));

    let bytes = written(message, 0, &value).expect("encodable");

    assert!(bytes.ends_with(b"\x02\x00\x02\x02c\x07\x05later"), "{bytes:?}");
    assert_eq!(read(message, 0, &bytes), Ok(value));
}

#[test]
fn every_cut_of_a_message_is_refused() {
    let message = message("MetadataResponse").expect("a message");
    let bytes = written(message, 12, &Trees(message).default_struct(0)).expect("encodable");
    for cut in 0..bytes.len() {
        assert!(read(message, 12, &bytes[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn large_records_are_segments_of_their_own() {
    let produce = message("ProduceRequest").expect("a message");
    let partition = Tree::Struct(vec![Tree::Integer(0), Tree::Bytes(vec![b'r'; 99])], Vec::new());
    let topic =
        vec![Tree::Text("t".into()), Tree::Bytes(vec![0; 16]), Tree::Array(vec![partition])];
    let topics = Tree::Array(vec![Tree::Struct(topic, Vec::new())]);
    let fields = vec![Tree::Null, Tree::Integer(1), Tree::Integer(2), topics];
    let value = Tree::Struct(fields, Vec::new());

    let segments = encode(produce, 9, &value, &Trees(produce), Vec::new(), 99).expect("encodable");

    let [Segment::Written(before), Segment::Shared(records), Segment::Written(after)] =
        segments.as_slice()
    else {
        panic!("{segments:?}");
    };
    assert_eq!((records.len(), after.as_slice()), (99, &b"\0\0\0"[..]));
    let joined = [before.as_slice(), records, after].concat();
    assert_eq!(read(produce, 9, &joined), Ok(value));
}
