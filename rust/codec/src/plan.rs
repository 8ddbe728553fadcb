//! A message in one version: what is on the wire, in which order and form.

use crate::schema::{Kind, Message, Shape};

/// The structs of a message, by the same index as in the schema.
pub(crate) struct Plan {
    pub version: i16,
    pub structs: Vec<StructPlan>,
}

pub(crate) struct StructPlan {
    pub fields: Vec<Step>,
    /// The known tags, ascending; Kafka gives them out from zero, so there are few.
    pub tags: Vec<Tag>,
    pub flexible: bool,
    /// The fewest bytes that a value of this struct takes.
    pub min_bytes: usize,
}

#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub presence: Presence,
    pub shape: Shape,
    pub nullable: bool,
    /// Lengths are unsigned varints, plus one.
    pub compact: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// In the order of the fields.
    Inline,
    /// Among the tagged fields.
    Tagged,
    /// Not in this version: a value other than the default is dropped.
    Dropped,
    /// Not in this version: a value other than the default is refused.
    Refused,
}

pub(crate) struct Tag {
    pub tag: u32,
    pub field: usize,
    /// False where the tag is known but belongs to other versions.
    pub valid: bool,
}

impl Plan {
    pub fn new(message: &Message, version: i16) -> Self {
        let structs = (0..message.structs.len()).map(|index| plan_struct(message, index, version));
        let mut plan = Self { version, structs: structs.collect() };
        for index in 0..plan.structs.len() {
            plan.structs[index].min_bytes = plan.min_bytes_of_struct(index);
        }
        plan
    }

    /// The fewest bytes one element or value of `kind` takes, at least one: what bounds a count.
    pub fn min_bytes(&self, kind: Kind, compact: bool) -> usize {
        match kind {
            Kind::Bool | Kind::Int8 => 1,
            Kind::Int16 | Kind::Uint16 => 2,
            Kind::Int32 | Kind::Uint32 => 4,
            Kind::Int64 | Kind::Float64 => 8,
            Kind::Uuid => 16,
            Kind::String | Kind::Bytes | Kind::Records if compact => 1,
            Kind::String => 2,
            Kind::Bytes | Kind::Records => 4,
            Kind::Struct(index) => self.structs[index].min_bytes.max(1),
        }
    }

    // Schemas do not nest in circles, so this ends.
    fn min_bytes_of_struct(&self, index: usize) -> usize {
        let plan = &self.structs[index];
        let inline = plan.fields.iter().filter(|step| step.presence == Presence::Inline);
        let fields = inline.map(|step| match (step.shape.array, step.shape.kind) {
            (true, _) if step.compact => 1,
            (true, _) => 4,
            (false, Kind::Struct(_)) if step.nullable => 1,
            (false, Kind::Struct(inner)) => self.min_bytes_of_struct(inner),
            (false, kind) => self.min_bytes(kind, step.compact),
        });
        fields.sum::<usize>() + usize::from(plan.flexible)
    }
}

fn plan_struct(message: &Message, index: usize, version: i16) -> StructPlan {
    let flexible = message.flexible.contain(version);
    let mut tags = Vec::new();
    let mut fields = Vec::new();
    for (position, field) in message.structs[index].fields.iter().enumerate() {
        let present = field.versions.contain(version);
        let mut presence = match (present, field.ignorable) {
            (true, _) => Presence::Inline,
            (false, true) => Presence::Dropped,
            (false, false) => Presence::Refused,
        };
        if let Some((tag, versions)) = field.tagged {
            let valid = present && versions.contain(version);
            if valid {
                presence = Presence::Tagged;
            }
            tags.push(Tag { tag, field: position, valid });
        }
        fields.push(Step {
            presence,
            shape: field.shape,
            nullable: field.nullable.contain(version),
            compact: flexible && !field.rigid,
        });
    }
    tags.sort_by_key(|tag| tag.tag);
    StructPlan { fields, tags, flexible, min_bytes: 0 }
}
