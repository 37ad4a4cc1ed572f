//! Learns the shape of a record that the slow path has read.

use std::collections::HashSet;
use std::sync::Arc;

use super::Format;
use super::debezium;
use super::fast::Fast;
use super::json::{Cursor, Token};
use super::plan::{Kind, Member, Members, Plan};
use super::shape::{Action, Shape, Slot, Target};
use super::value::{Form, Scalar};
use crate::contract::TimeForm;

/// The shape of `record`; `None` where it has something that shapes do not have.
pub(super) fn shape(plan: &Arc<Plan>, record: &str, format: Format) -> Option<Shape> {
    let mut learner = Learner {
        plan,
        record,
        end: 0,
        objects: 0,
        shape: Shape {
            plan: plan.clone(),
            slots: Vec::new(),
            tail: Vec::new(),
            structs: Vec::new(),
            has_before: false,
        },
    };
    let mut cursor = Cursor::new(record, 0);
    match format {
        Format::Plain => learner.item(&mut cursor)?,
        Format::Dynamodb => learner.stream_record(&mut cursor)?,
        Format::Debezium => {
            let (begins, _) = debezium::payload(record).ok()?;
            cursor = Cursor::inside(record, begins, u32::from(begins > 0));
            learner.event(&mut cursor)?;
            // The envelope ends behind its payload.
            cursor = Cursor::new(record, record.trim_ascii_end().len());
        }
    }
    learner.shape.tail = record.as_bytes().get(learner.end..cursor.at())?.to_vec();
    Some(learner.shape)
}

struct Learner<'l> {
    plan: &'l Arc<Plan>,
    record: &'l str,
    /// Where the last value ended.
    end: usize,
    /// Objects so far.
    objects: u32,
    shape: Shape,
}

impl Learner<'_> {
    fn object(&mut self, cursor: &mut Cursor<'_>) -> Option<u32> {
        (cursor.token().ok()? == Token::Object).then_some(())?;
        self.objects += 1;
        Some(self.objects)
    }

    /// Note the value at the cursor and pass it.
    fn slot(&mut self, cursor: &mut Cursor<'_>, parent: u32, action: Action) -> Option<()> {
        let (start, end) = cursor.skip().ok()?;
        let literal = self.record.as_bytes().get(self.end..start)?.to_vec();
        let depth = cursor.depth();
        self.shape.slots.push(Slot { literal, parent, wrapped: false, depth, action });
        self.end = end;
        Some(())
    }

    /// Note a value inside its wrapper, whose name has been passed, and end the wrapper.
    fn wrapped(&mut self, cursor: &mut Cursor<'_>, parent: u32, action: Action) -> Option<()> {
        self.slot(cursor, parent, action)?;
        self.shape.slots.last_mut()?.wrapped = true;
        cursor.member(false).ok()?.is_none().then_some(())
    }

    /// True where an object has had no value since there were `slots`: a shape could not tell
    /// whether it is there.
    fn is_hollow(&self, slots: usize) -> bool {
        self.shape.slots.len() == slots
    }

    /// A plain item, which may say its operation and its time.
    fn item(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        self.members(cursor, Form::Plain, false, true)
    }

    fn image(&mut self, cursor: &mut Cursor<'_>, form: Form, is_before: bool) -> Option<()> {
        self.members(cursor, form, is_before, false)
    }

    fn members(
        &mut self,
        cursor: &mut Cursor<'_>,
        form: Form,
        is_before: bool,
        is_item: bool,
    ) -> Option<()> {
        let slots = self.shape.slots.len();
        let parent = self.object(cursor)?;
        let plan = self.plan;
        let mut first = true;
        while let Some(name) = cursor.member(first).ok()? {
            first = false;
            let name = cursor.text(name);
            match name.as_ref() {
                "_op" if is_item => self.slot(cursor, parent, Action::Op)?,
                "_event_time" if is_item => {
                    self.slot(cursor, parent, Action::EventTime)?;
                }
                name => {
                    let path = vec![];
                    self.member(
                        cursor,
                        form,
                        parent,
                        &plan.root,
                        name,
                        is_before,
                        path,
                        &mut vec![],
                    )?;
                }
            }
        }
        (!self.is_hollow(slots)).then_some(())
    }

    #[allow(clippy::too_many_arguments)] // One recursion: where we are in record and contract.
    fn member(
        &mut self,
        cursor: &mut Cursor<'_>,
        form: Form,
        parent: u32,
        members: &Members,
        name: &str,
        is_before: bool,
        mut path: Vec<usize>,
        names: &mut Vec<String>,
    ) -> Option<()> {
        let Some(index) = members.index(name, 0) else {
            if self.plan.strict {
                return None;
            }
            let mut path = names.clone();
            path.push(name.to_owned());
            let action = if is_before { Action::Pass } else { Action::Unknown { path, form } };
            return self.slot(cursor, parent, action);
        };
        let member = members.all.get(index)?;
        path.push(index);
        let target = Target { is_before, path };
        // The image before may name a member twice, and is left out then.
        if self.is_met(&target) {
            return None;
        }
        if let Kind::Struct(inner) = &member.kind
            && is_object(cursor, form)
        {
            names.push(name.to_owned());
            self.structure(cursor, form, inner, target, names)?;
            names.pop();
            return Some(());
        }
        let key = (target.path.len() == 1).then(|| self.plan.key_of(index)).flatten();
        self.scalar(cursor, form, parent, member, target, key)
    }

    fn is_met(&self, target: &Target) -> bool {
        let is_it = |slot: &Slot| matches!(&slot.action, Action::Column { target: met, .. } if met == target);
        self.shape.structs.contains(target) || self.shape.slots.iter().any(is_it)
    }

    fn structure(
        &mut self,
        cursor: &mut Cursor<'_>,
        form: Form,
        members: &Members,
        target: Target,
        names: &mut Vec<String>,
    ) -> Option<()> {
        if form == Form::Typed {
            (cursor.token().ok()? == Token::Object).then_some(())?;
            let tag = cursor.member(true).ok()??;
            (cursor.text(tag) == "M").then_some(())?;
        }
        let slots = self.shape.slots.len();
        let parent = self.object(cursor)?;
        let mut first = true;
        while let Some(name) = cursor.member(first).ok()? {
            first = false;
            let name = cursor.text(name).into_owned();
            let path = target.path.clone();
            self.member(cursor, form, parent, members, &name, target.is_before, path, names)?;
        }
        if form == Form::Typed {
            cursor.member(false).ok()?.is_none().then_some(())?;
        }
        self.shape.structs.push(target);
        (!self.is_hollow(slots)).then_some(())
    }

    fn scalar(
        &mut self,
        cursor: &mut Cursor<'_>,
        form: Form,
        parent: u32,
        member: &Member,
        target: Target,
        key: Option<usize>,
    ) -> Option<()> {
        let fast = fast_of(&member.kind);
        if form == Form::Plain || fast == Fast::No {
            return self.slot(cursor, parent, Action::Column { target, form, fast, key });
        }
        // The wrapper is part of the literal; the value is what it wraps.
        let mut inner = cursor.clone();
        (inner.token().ok()? == Token::Object).then_some(())?;
        let tag = inner.member(true).ok()??;
        let form = match inner.text(tag).as_ref() {
            "S" => Form::Bare(Scalar::Text),
            "N" => Form::Bare(Scalar::Number),
            "BOOL" => Form::Typed,
            _ => {
                let action = Action::Column { target, form, fast: Fast::No, key };
                return self.slot(cursor, parent, action);
            }
        };
        *cursor = inner;
        self.wrapped(cursor, parent, Action::Column { target, form, fast, key })
    }

    /// An event of Debezium, but a delete. What is null stays a part of the literals.
    fn event(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let parent = self.object(cursor)?;
        let mut names = HashSet::new();
        let (mut has_op, mut has_image) = (false, false);
        let mut first = true;
        while let Some(name) = cursor.member(first).ok()? {
            first = false;
            let name = cursor.text(name).into_owned();
            let is_null = || matches!(cursor.clone().token(), Ok(Token::Null));
            match name.as_str() {
                "before" | "after" | "source" if is_null() => {
                    cursor.skip().ok()?;
                }
                "before" => {
                    self.shape.has_before = true;
                    self.image(cursor, Form::Plain, true)?;
                }
                "after" => {
                    has_image = true;
                    self.image(cursor, Form::Plain, false)?;
                }
                "source" => self.source(cursor)?,
                "op" => {
                    has_op = true;
                    self.slot(cursor, parent, Action::Letter)?;
                }
                name => self.slot(cursor, parent, stamp_or_pass(name, false))?,
            }
            // The last one of two would count.
            names.insert(name).then_some(())?;
        }
        (has_op && has_image).then_some(())
    }

    fn source(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let slots = self.shape.slots.len();
        let parent = self.object(cursor)?;
        let mut first = true;
        while let Some(name) = cursor.member(first).ok()? {
            first = false;
            let action = stamp_or_pass(&cursor.text(name), true);
            self.slot(cursor, parent, action)?;
        }
        (!self.is_hollow(slots)).then_some(())
    }

    fn stream_record(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let parent = self.object(cursor)?;
        let (mut has_name, mut has_image, mut has_keys) = (false, false, false);
        let mut first = true;
        while let Some(name) = cursor.member(first).ok()? {
            first = false;
            match cursor.text(name).as_ref() {
                "eventName" => {
                    has_name = true;
                    self.slot(cursor, parent, Action::EventName)?;
                }
                "dynamodb" => {
                    let parent = self.object(cursor)?;
                    let mut first = true;
                    while let Some(name) = cursor.member(first).ok()? {
                        first = false;
                        match cursor.text(name).as_ref() {
                            "Keys" => {
                                has_keys = true;
                                self.keys(cursor)?;
                            }
                            "NewImage" => {
                                has_image = true;
                                self.image(cursor, Form::Typed, false)?;
                            }
                            "OldImage" => {
                                self.shape.has_before = true;
                                self.image(cursor, Form::Typed, true)?;
                            }
                            "ApproximateCreationDateTime" => {
                                self.slot(cursor, parent, Action::Created)?;
                            }
                            _ => self.slot(cursor, parent, Action::Pass)?,
                        }
                    }
                }
                _ => self.slot(cursor, parent, Action::Pass)?,
            }
        }
        (has_name && has_image && has_keys).then_some(())
    }

    fn keys(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let parent = self.object(cursor)?;
        let mut first = true;
        while let Some(name) = cursor.member(first).ok()? {
            first = false;
            let column = self.plan.root.index(&cursor.text(name), 0)?;
            let key = self.plan.key_of(column)?;
            (cursor.token().ok()? == Token::Object).then_some(())?;
            let tag = cursor.member(true).ok()??;
            let is_number = match cursor.text(tag).as_ref() {
                "S" => false,
                "N" => true,
                _ => return None,
            };
            self.wrapped(cursor, parent, Action::Key { key, is_number })?;
        }
        Some(())
    }
}

fn stamp_or_pass(name: &str, is_source: bool) -> Action {
    debezium::power_of(name).map_or(Action::Pass, |power| Action::Stamp { is_source, power })
}

/// True where the value at the cursor is an object, as an item of its form is.
fn is_object(cursor: &Cursor<'_>, form: Form) -> bool {
    let mut cursor = cursor.clone();
    match form {
        Form::Typed => {
            let is_wrapper = matches!(cursor.token(), Ok(Token::Object));
            is_wrapper && matches!(cursor.member(true), Ok(Some(tag)) if cursor.text(tag) == "M")
        }
        _ => cursor.peek() == Some(b'{'),
    }
}

fn fast_of(kind: &Kind) -> Fast {
    match kind {
        Kind::Text => Fast::Text,
        Kind::Integer => Fast::Integer,
        Kind::Float => Fast::Float,
        Kind::Boolean => Fast::Boolean,
        Kind::Instant(TimeForm::Text) => Fast::Instant,
        Kind::Date(TimeForm::Text) => Fast::No,
        Kind::Instant(form) | Kind::Date(form) => Fast::Count(*form),
        _ => Fast::No,
    }
}
