//! Buckets and tables for tests: made, looked at, interfered with.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use acequia::aws::Aws;
use acequia::component::Context;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::types::MultipartUpload;
use bytes::Bytes;
use tokio::runtime::Runtime;

use crate::services::moto::Moto;

/// A name that no other test has.
pub(crate) fn unique(name: &str) -> String {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", GIVEN.fetch_add(1, Ordering::Relaxed))
}

/// Clients of a server at `endpoint`.
pub(crate) fn aws(endpoint: &str) -> Aws {
    let credentials = Credentials::new("test", "test", None, None, "tests");
    let found = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .http_client(acequia::aws::http_client())
        .build();
    Aws::of(found, true)
}

/// What components of a test work with.
pub(crate) fn context(aws: &Aws) -> Context {
    Context { aws: aws.clone(), ..acequia::testing::context(11) }
}

/// A bucket of a test's own.
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) aws: Aws,
    runtime: Runtime,
}

impl Bucket {
    pub(crate) fn new(moto: &Moto, name: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let bucket = Self { name: unique(name), aws: aws(&moto.endpoint()), runtime };
        bucket.wait(async {
            bucket.aws.s3().await.create_bucket().bucket(&bucket.name).send().await.unwrap();
        });
        bucket
    }

    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub(crate) fn url(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}", self.name)
    }

    /// Store an object.
    pub(crate) fn put(&self, key: &str, body: impl AsRef<[u8]>) {
        let body = Bytes::copy_from_slice(body.as_ref());
        self.wait(async {
            let client = self.aws.s3().await;
            let put = client.put_object().bucket(&self.name).key(key).body(body.into());
            put.send().await.unwrap();
        });
    }

    /// Delete an object.
    pub(crate) fn delete(&self, key: &str) {
        self.wait(async {
            let client = self.aws.s3().await;
            client.delete_object().bucket(&self.name).key(key).send().await.unwrap();
        });
    }

    /// Every object below `prefix`, by key.
    pub(crate) fn objects(&self, prefix: &str) -> BTreeMap<String, Bytes> {
        self.wait(async {
            let client = self.aws.s3().await;
            let listed = client.list_objects_v2().bucket(&self.name).prefix(prefix);
            let mut pages = listed.into_paginator().send();
            let mut objects = BTreeMap::new();
            while let Some(page) = pages.next().await {
                for object in page.unwrap().contents() {
                    let key = object.key().unwrap();
                    let found = client.get_object().bucket(&self.name).key(key).send().await;
                    let body = found.unwrap().body.collect().await.unwrap().into_bytes();
                    objects.insert(key.to_owned(), body);
                }
            }
            objects
        })
    }

    /// The uploads that are not completed.
    pub(crate) fn uploads(&self) -> Vec<MultipartUpload> {
        self.wait(async {
            let client = self.aws.s3().await;
            let listed = client.list_multipart_uploads().bucket(&self.name).send().await;
            listed.unwrap().uploads().to_vec()
        })
    }
}

/// Make a table for checkpoints.
pub(crate) async fn make_table(aws: &Aws, name: &str) {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    };
    let mut request = aws
        .dynamodb()
        .await
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest);
    for (column, kind) in [("pipeline", KeyType::Hash), ("document", KeyType::Range)] {
        let text = AttributeDefinition::builder()
            .attribute_name(column)
            .attribute_type(ScalarAttributeType::S);
        let key = KeySchemaElement::builder().attribute_name(column).key_type(kind);
        request =
            request.attribute_definitions(text.build().unwrap()).key_schema(key.build().unwrap());
    }
    request.send().await.unwrap();
}
