//! The published Parquet files of a lake as one table.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::datasource::{TableProvider, TableType};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::location::Location;

/// The table below `root` with the folder columns `hive` (whole numbers) behind those of `schema`.
///
/// Only `*.parquet` inside Hive folders is read: staged files, the marker and anything in another
/// folder are not. A root that does not exist is an empty table.
pub(super) fn open(
    root: &Location,
    schema: &SchemaRef,
    hive: &[&str],
) -> Result<Arc<dyn TableProvider>> {
    // A data column of that name wins: DuckDB and Athena refuse such a table.
    let hive: Vec<(String, DataType)> = hive
        .iter()
        .filter(|name| schema.field_with_name(name).is_err())
        .map(|name| ((*name).to_owned(), DataType::Int32))
        .collect();
    let place = || format!("cannot read the lake {root}");
    let Some(url) = url(root).map_err(|error| error.context(place()))? else {
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        fields.extend(
            hive.into_iter()
                .map(|(name, kind)| Arc::new(arrow::datatypes::Field::new(name, kind, true))),
        );
        return Ok(Arc::new(EmptyTable::new(Arc::new(arrow::datatypes::Schema::new(fields)))));
    };
    let options = ListingOptions::new(Arc::new(ParquetFormat::default()))
        .with_file_extension(".parquet")
        .with_table_partition_cols(hive.clone());
    let url = ListingTableUrl::parse(url).or_error(ErrorKind::Config, place)?;
    let config =
        ListingTableConfig::new(url).with_listing_options(options).with_schema(schema.clone());
    let files = ListingTable::try_new(config).or_error(ErrorKind::Config, place)?;
    let hive = hive.into_iter().map(|(name, _)| name).collect();
    Ok(Arc::new(LakeTable { files, hive }))
}

/// The url of a root; none where a folder does not exist.
fn url(root: &Location) -> Result<Option<String>> {
    let folder = match root {
        Location::Bucket(place) => {
            return Ok(Some(escaped(&format!("s3://{}/", place.bucket), &place.prefix)));
        }
        Location::Folder(folder) => folder,
    };
    let unreadable = || "the folder cannot be looked at".to_owned();
    if !folder.try_exists().or_error(ErrorKind::Config, unreadable)? {
        return Ok(None);
    }
    let folder = folder.canonicalize().or_error(ErrorKind::Config, unreadable)?;
    let text = folder.to_str().ok_or_else(|| Error::config("the folder's name is not UTF-8"))?;
    Ok(Some(escaped("file://", text)))
}

/// A url of a folder; odd letters are escaped, so that none is a pattern.
fn escaped(scheme: &str, folder: &str) -> String {
    let mut url = scheme.to_owned();
    for byte in folder.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                url.push(char::from(byte));
            }
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url.push('/');
    url
}

/// A listing table whose folder columns are numbers although the folders are padded with zeros.
#[derive(Debug)]
struct LakeTable {
    files: ListingTable,
    hive: Vec<String>,
}

impl LakeTable {
    /// `month = 1` as `month >= 1 AND month <= 1`. The listing takes an equality for the beginning
    /// of a path and would look for `month=1` where the folder is `month=01`; a range it applies to
    /// the folder's value.
    fn ranged(&self, filter: &Expr) -> Result<Expr, DataFusionError> {
        let rewritten = filter.clone().transform_up(|node| match node {
            Expr::BinaryExpr(equal) if equal.op == Operator::Eq && self.compares_folder(&equal) => {
                let compare = |op| {
                    Expr::BinaryExpr(BinaryExpr::new(equal.left.clone(), op, equal.right.clone()))
                };
                Ok(Transformed::yes(compare(Operator::GtEq).and(compare(Operator::LtEq))))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(rewritten.data)
    }

    fn compares_folder(&self, equal: &BinaryExpr) -> bool {
        [&equal.left, &equal.right].into_iter().any(|side| {
            matches!(side.as_ref(), Expr::Column(column) if self.hive.contains(&column.name))
        })
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        self.files.schema()
    }
    fn table_type(&self) -> TableType {
        TableType::Base
    }
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let filters =
            filters.iter().map(|filter| self.ranged(filter)).collect::<Result<Vec<_>, _>>()?;
        self.files.scan(state, projection, &filters, limit).await
    }
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        self.files.supports_filters_pushdown(filters)
    }
}
