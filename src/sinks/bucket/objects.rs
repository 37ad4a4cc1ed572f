//! Dead letters in a bucket, for a person who looks at them.

use std::io::{Cursor, Read};

use tokio::runtime::{Builder, Runtime};

use crate::aws::{Aws, Call};
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

    async fn list(&self) -> Result<Vec<String>> {
        let client = self.aws.s3().await;
        let mut pages = client
            .list_objects_v2()
            .bucket(&self.place.bucket)
            .prefix(self.place.beginning())
            .into_paginator()
            .send();
        let mut names = Vec::new();
        let what = format!("list the dead letters in {}", self.place);
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| Call { what: &what, needs: "s3:ListBucket" }.refused(error))?;
            let keys = page.contents().iter().filter_map(|object| object.key());
            names.extend(keys.filter_map(|key| self.place.below(key)).map(str::to_owned));
        }
        Ok(names)
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>> {
        let client = self.aws.s3().await;
        let (bucket, key) = (&self.place.bucket, self.place.key(name));
        let what = format!("read {}/{name}", self.place);
        let found = client.get_object().bucket(bucket).key(key).send().await;
        let found =
            found.map_err(|error| Call { what: &what, needs: "s3:GetObject" }.refused(error))?;
        let body = found.body.collect().await.map_err(|cause| {
            Error::retryable(format!("cannot {what}: the answer ended early")).caused_by(cause)
        })?;
        Ok(body.to_vec())
    }
}

impl LetterFiles for Objects {
    fn place(&self) -> String {
        self.place.to_string()
    }
    fn names(&self) -> Result<Vec<String>> {
        self.runtime.block_on(self.list())
    }
    fn open(&self, name: &str) -> Result<Box<dyn Read>> {
        Ok(Box::new(Cursor::new(self.runtime.block_on(self.read(name))?)))
    }
}
