//! Learns the shape of a record that the slow path has read.

use super::Format;
use super::fast::Fast;
use super::json::{Cursor, Token};
use super::plan::{Kind, Member, Members, Plan};
use super::shape::{Action, Shape, Slot, Target};
use super::value::{Form, Scalar};
use crate::contract::TimeForm;

/// The shape of `record`; `None` where it has something that shapes do not have.
pub(super) fn shape(plan: &Plan, record: &str, format: Format) -> Option<Shape> {
    let mut learner = Learner {
        plan,
        record,
        end: 0,
        objects: 0,
        shape: Shape {
            slots: Vec::new(),
            tail: Vec::new(),
            structs: Vec::new(),
            has_before: false,
        },
    };
    let mut cursor = Cursor::new(record, 0);
    match format {
        Format::Plain => learner.image(&mut cursor, Form::Plain, false)?,
        Format::Dynamodb => learner.stream_record(&mut cursor)?,
        Format::Debezium => return None,
    }
    learner.shape.tail = record.as_bytes().get(learner.end..cursor.at())?.to_vec();
    Some(learner.shape)
}

struct Learner<'l> {
    plan: &'l Plan,
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
        self.shape.slots.push(Slot { literal, parent, wrapped: false, action });
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

    /// An image, or a plain item as a whole.
    fn image(&mut self, cursor: &mut Cursor<'_>, form: Form, is_before: bool) -> Option<()> {
        let slots = self.shape.slots.len();
        let parent = self.object(cursor)?;
        let plan = self.plan;
        let mut first = true;
        while let Some(name) = cursor.member(first).ok()? {
            first = false;
            let name = cursor.text(name);
            match name.as_ref() {
                "_op" if form == Form::Plain => self.slot(cursor, parent, Action::Op)?,
                "_event_time" if form == Form::Plain => {
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
