//! Functions that DataFusion has not.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::types::logical_string;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::{
    Coercion, ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, TypeSignatureClass, Volatility,
};

use crate::sentiment::columns::{Judges, MEMBERS, Wanted};

/// All of them.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(ScalarUDF::from(SentimentFunction::new()))]
}

/// `sentiment(text [, language])`: what the `sentiment` stage gives with the program's own model, as
/// a struct of `label`, `score`, `confidence`, `language` and `model`; NULL where the text is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SentimentFunction {
    signature: Signature,
}

impl SentimentFunction {
    fn new() -> Self {
        let text = || Coercion::new_exact(TypeSignatureClass::Native(logical_string()));
        let forms = vec![
            TypeSignature::Coercible(vec![text()]),
            TypeSignature::Coercible(vec![text(), text()]),
        ];
        Self { signature: Signature::one_of(forms, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for SentimentFunction {
    fn name(&self) -> &str {
        "sentiment"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Struct(MEMBERS.clone()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let external = |error| DataFusionError::External(Box::new(error));
        let judges = Judges::built_in().map_err(external)?;
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let column = |arg: &ColumnarValue| -> Result<ArrayRef, DataFusionError> {
            let column = arg.to_array(rows)?;
            Ok(cast(&column, &DataType::Utf8View)?)
        };
        let columns = args.args.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let mut texts = columns.iter().filter_map(|column| column.as_string_view_opt());
        let Some(text) = texts.next() else {
            return Err(DataFusionError::Internal("sentiment() without a text".to_owned()));
        };
        let verdicts = judges.verdicts(text, texts.next(), |row| match text.is_valid(row) {
            true => Wanted::Verdict,
            false => Wanted::Null,
        })?;
        let verdicts = verdicts.into_struct(text.logical_nulls())?;
        Ok(match is_constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&verdicts, 0)?),
            false => ColumnarValue::Array(Arc::new(verdicts)),
        })
    }
}
