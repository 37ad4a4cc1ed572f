//! Dead letters in a bucket, for a person who looks at them.

use std::io::{Cursor, Read};

use tokio::runtime::{Builder, Runtime};

use crate::aws::{Aws, Phase, objects};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::location::BucketPrefix;
use crate::sinks::letter::LetterFiles;

/// The objects right below a prefix. Each is read whole: a file holds the letters of one epoch.
pub struct Objects {
    place: BucketPrefix,
    aws: Aws,
    runtime: Runtime,
}

impl Objects {
    /// The objects below `place`. Its calls wait: none may be made inside an asynchronous runtime.
    pub fn open(place: BucketPrefix, aws: &Aws) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.or_error(ErrorKind::Fatal, || "cannot start a runtime".to_owned())?;
        Ok(Self { place, aws: aws.clone(), runtime })
    }
}

impl LetterFiles for Objects {
    fn place(&self) -> String {
        self.place.to_string()
    }
    fn names(&self) -> Result<Vec<String>> {
        self.runtime.block_on(objects::names(&self.aws, &self.place, Phase::Start))
    }
    fn open(&self, name: &str) -> Result<Box<dyn Read>> {
        let found = objects::get(&self.aws, &self.place, name, Phase::Start);
        let found = self.runtime.block_on(found)?;
        let gone =
            || Error::config(format!("cannot read {}/{name}: it does not exist", self.place));
        Ok(Box::new(Cursor::new(found.ok_or_else(gone)?.body)))
    }
}
