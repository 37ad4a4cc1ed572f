//! How text is cut into the words of an index, for every engine in the same way.
//!
//! Words end where Unicode says (UAX #29), are written small, and lose what says little in their
//! language, their ending and their accents. So a search without an accent finds the accented word:
//! the analyzer that OpenSearch itself calls `spanish` keeps `niño` and `pasó` apart from `nino` and
//! `paso`. An index of ours defines its own under that name.

use serde_json::{Value, json};

/// The words of a contract's `analyzer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Analyzer {
    /// Words as they are, written small.
    Standard,
    /// Spanish: without stop words, by Lucene's `light_spanish`, without accents.
    Spanish,
    /// English: without stop words and possessives, by the second Porter stemmer, without accents.
    English,
}

impl Analyzer {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Standard, Self::Spanish, Self::English];

    /// Its word in contracts and mappings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Spanish => "spanish",
            Self::English => "english",
        }
    }

    /// The one of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|analyzer| analyzer.as_str() == word)
    }

    /// Its definition in the settings of an index; `None` for one that OpenSearch has as it is.
    fn definition(self) -> Option<Value> {
        let filters = match self {
            Self::Standard => return None,
            Self::Spanish => json!([
                "lowercase",
                "acequia_spanish_stop",
                "acequia_spanish_stemmer",
                "asciifolding"
            ]),
            Self::English => json!([
                "acequia_english_possessive",
                "lowercase",
                "acequia_english_stop",
                "acequia_english_stemmer",
                "asciifolding"
            ]),
        };
        Some(json!({ "type": "custom", "tokenizer": "standard", "filter": filters }))
    }

    /// The filters of its definition that OpenSearch has no name for.
    fn filters(self) -> Vec<(&'static str, Value)> {
        let stop = |words: &str| json!({ "type": "stop", "stopwords": words });
        let stemmer = |language: &str| json!({ "type": "stemmer", "language": language });
        match self {
            Self::Standard => Vec::new(),
            Self::Spanish => vec![
                ("acequia_spanish_stop", stop("_spanish_")),
                ("acequia_spanish_stemmer", stemmer("light_spanish")),
            ],
            Self::English => vec![
                ("acequia_english_possessive", stemmer("possessive_english")),
                ("acequia_english_stop", stop("_english_")),
                ("acequia_english_stemmer", stemmer("porter2")),
            ],
        }
    }
}

/// `analysis` in the settings of an index whose fields use these analyzers.
pub fn settings(analyzers: impl IntoIterator<Item = Analyzer>) -> Value {
    let (mut defined, mut filters) = (serde_json::Map::new(), serde_json::Map::new());
    for analyzer in analyzers {
        let Some(definition) = analyzer.definition() else { continue };
        defined.insert(analyzer.as_str().to_owned(), definition);
        filters.extend(analyzer.filters().into_iter().map(|(name, it)| (name.to_owned(), it)));
    }
    json!({ "filter": filters, "analyzer": defined })
}
