//! Plans a checked SELECT with DataFusion and turns the plan into a [`Program`].
//!
//! Two optimiser rules run: expressions are simplified, and columns that nothing reads are left
//! out. The plan that comes out is a chain of projections and filters over the scan; anything else
//! is refused. Its expressions are made physical once, and the whole chain is evaluated.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, TableReference, plan_err};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::logical_plan::builder::LogicalTableSource;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, Operator, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Analyzer, Optimizer, OptimizerContext};
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast::Statement;

use super::error::SqlError;
use super::evaluate::{Input, Program, Step};
use super::explain::Explain;
use super::parse::{Names, Text, parse_condition, parse_statement};
use super::{check, functions, output, rewrite};
use crate::event::SystemSchema;

/// Name of the only table.
pub(super) const TABLE: &str = "changes";

/// Scalar functions by name and alias.
pub(super) static FUNCTIONS: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let mut functions = HashMap::new();
    for function in
        SessionStateDefaults::default_scalar_functions().into_iter().chain(functions::all())
    {
        for alias in function.aliases() {
            functions.insert(alias.clone(), function.clone());
        }
        functions.insert(function.name().to_owned(), function);
    }
    functions
});

/// Names of aggregates, to refuse them by name.
pub(super) static AGGREGATES: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let all = SessionStateDefaults::default_aggregate_functions();
    all.iter().flat_map(|it| [vec![it.name().to_owned()], it.aliases().to_vec()].concat()).collect()
});

/// Names of window functions, to refuse them by name.
pub(super) static WINDOWS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let all = SessionStateDefaults::default_window_functions();
    all.iter().flat_map(|it| [vec![it.name().to_owned()], it.aliases().to_vec()].concat()).collect()
});

static EXPRESSION_PLANNERS: LazyLock<Vec<Arc<dyn ExprPlanner>>> =
    LazyLock::new(SessionStateDefaults::default_expr_planners);

static OPTIONS: LazyLock<Arc<ConfigOptions>> = LazyLock::new(|| {
    let mut options = ConfigOptions::default();
    // Instants are UTC, whatever the machine; one type of text.
    options.execution.time_zone = Some("+00:00".to_owned());
    options.sql_parser.map_string_types_to_utf8view = true;
    options.sql_parser.collect_spans = true;
    options.optimizer.skip_failed_rules = false;
    Arc::new(options)
});

/// What the planner may know: the table and the functions.
struct Changes {
    source: Arc<dyn TableSource>,
}

impl ContextProvider for Changes {
    fn get_table_source(
        &self,
        name: TableReference,
    ) -> Result<Arc<dyn TableSource>, DataFusionError> {
        if name.table() == TABLE {
            Ok(self.source.clone())
        } else {
            plan_err!("unknown table {name}")
        }
    }
    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &EXPRESSION_PLANNERS
    }
    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        FUNCTIONS.get(name).cloned()
    }
    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }
    fn get_aggregate_meta(&self, _name: &str) -> Option<Arc<AggregateUDF>> {
        None
    }
    fn get_window_meta(&self, _name: &str) -> Option<Arc<WindowUDF>> {
        None
    }
    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }
    fn options(&self) -> &ConfigOptions {
        &OPTIONS
    }
    fn udf_names(&self) -> Vec<String> {
        FUNCTIONS.keys().cloned().collect()
    }
    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Compile a stage's SELECT.
pub(super) fn compile_select(
    sql: &str,
    input: &SchemaRef,
    system: &SystemSchema,
) -> Result<Program, SqlError> {
    let names = names(input, system);
    let (text, statement) = parse_statement(sql)?;
    compile(&text, statement, input, system, &names)
}

/// Compile a sink's condition: its program gives no columns worth having, but the filter.
pub(super) fn compile_condition(
    condition: &str,
    input: &SchemaRef,
    system: &SystemSchema,
) -> Result<Program, SqlError> {
    let names = names(input, system);
    let (text, statement) = parse_condition(condition)?;
    compile(&text, statement, input, system, &names)
}

fn names(input: &SchemaRef, system: &SystemSchema) -> Names {
    Names {
        stage: input.fields().iter().map(|field| field.name().clone()).collect(),
        system: system.readable_fields().iter().map(|field| field.name().clone()).collect(),
        members: input.fields().iter().flat_map(|field| members(field.data_type())).collect(),
    }
}

fn members(kind: &DataType) -> Vec<String> {
    match kind {
        DataType::Struct(fields) => fields
            .iter()
            .flat_map(|field| {
                std::iter::once(field.name().clone()).chain(members(field.data_type()))
            })
            .collect(),
        DataType::List(item) => members(item.data_type()),
        _ => Vec::new(),
    }
}

fn compile(
    text: &Text,
    mut statement: Statement,
    input: &SchemaRef,
    system: &SystemSchema,
    names: &Names,
) -> Result<Program, SqlError> {
    check::check(text, &statement)?;
    // Every stage column may be NULL: a delete may have its key alone.
    let stage_fields = input.fields().iter().map(|field| {
        Arc::new(field.as_ref().clone().with_nullable(true).with_metadata(HashMap::new()))
    });
    let table: Vec<Arc<Field>> = stage_fields.chain(system.readable_fields()).collect();
    let table = Arc::new(Schema::new(table));
    let plans = |mut part: Statement| {
        rewrite::hide_system_columns(&mut part, &names.system);
        plan(part, &table).is_ok()
    };
    let explain = Explain { text, names, statement: statement.clone(), plans: &plans };
    rewrite::hide_system_columns(&mut statement, &names.system);
    let plan = plan(statement, &table).map_err(|error| explain.error(&error))?;
    let mut compiler =
        Compiler { table: &table, stage: input, inputs: Vec::new(), steps: Vec::new() };
    let origins = compiler.node(&plan).map_err(|error| explain.error(&error))?;
    compiler.finish(&plan, &origins, &explain)
}

/// The plan, analysed and simplified.
fn plan(statement: Statement, table: &SchemaRef) -> Result<LogicalPlan, DataFusionError> {
    let changes = Changes { source: Arc::new(LogicalTableSource::new(table.clone())) };
    let options = ParserOptions::from(&OPTIONS.sql_parser);
    let plan = SqlToRel::new_with_options(&changes, options).sql_statement_to_plan(statement)?;
    let plan = Analyzer::new().execute_and_check(plan, &OPTIONS, |_, _| {})?;
    let optimizer = Optimizer::with_rules(vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(OptimizeProjections::new()),
    ]);
    optimizer.optimize(plan, &OptimizerContext::new_with_config_options(OPTIONS.clone()), |_, _| {})
}

struct Compiler<'a> {
    table: &'a SchemaRef,
    stage: &'a SchemaRef,
    inputs: Vec<usize>,
    steps: Vec<Step>,
}

impl Compiler<'_> {
    /// Compile `plan` and what lies below it. Answers, for each of its columns, the column of the
    /// table that it is, unchanged.
    fn node(&mut self, plan: &LogicalPlan) -> Result<Vec<Option<usize>>, DataFusionError> {
        match plan {
            LogicalPlan::TableScan(scan) if scan.filters.is_empty() && scan.fetch.is_none() => {
                self.inputs = match &scan.projection {
                    Some(columns) => columns.clone(),
                    None => (0..self.table.fields().len()).collect(),
                };
                Ok(self.inputs.iter().copied().map(Some).collect())
            }
            LogicalPlan::SubqueryAlias(alias) => self.node(&alias.input),
            LogicalPlan::Filter(filter) => {
                let origins = self.node(&filter.input)?;
                let condition = physical(&filter.predicate, filter.input.schema())?;
                self.steps.push(Step::Filter(condition));
                Ok(origins)
            }
            LogicalPlan::Projection(projection) => {
                let below = self.node(&projection.input)?;
                let input = projection.input.schema();
                let mut fields = Vec::with_capacity(projection.expr.len());
                let mut outputs = Vec::with_capacity(projection.expr.len());
                let mut origins = Vec::with_capacity(projection.expr.len());
                for (expression, name) in projection.expr.iter().zip(projection.schema.fields()) {
                    let expression = physical(expression, input)?;
                    let kind = expression.data_type(input.as_arrow())?;
                    fields.push(Field::new(name.name(), kind, true));
                    origins.push(
                        expression
                            .downcast_ref::<Column>()
                            .and_then(|column| below.get(column.index()).copied().flatten()),
                    );
                    outputs.push(expression);
                }
                self.steps.push(Step::Project(outputs, Arc::new(Schema::new(fields))));
                Ok(origins)
            }
            other => plan_err!("{} is not possible here", other.display()),
        }
    }

    /// The program, its outputs in the types that travel on.
    fn finish(
        mut self,
        plan: &LogicalPlan,
        origins: &[Option<usize>],
        explain: &Explain<'_>,
    ) -> Result<Program, SqlError> {
        let mut fields = Vec::new();
        let mut casts: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        let mut needs_cast = false;
        let found: Vec<Arc<Field>> = match self.steps.iter().rev().find_map(|step| match step {
            Step::Project(_, schema) => Some(schema.fields()),
            Step::Filter(_) => None,
        }) {
            Some(fields) => fields.iter().cloned().collect(),
            None => plan.schema().fields().iter().cloned().collect(),
        };
        for (index, found) in found.iter().enumerate() {
            let (name, kind) = (found.name(), found.data_type());
            let target = output::target_type(kind).map_err(|hint| {
                let message = format!("column \"{name}\" has the type {kind}");
                SqlError::at(explain.output(name), message).hint(hint)
            })?;
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, index));
            let unchanged = *kind == target;
            needs_cast |= !unchanged;
            casts.push(match unchanged {
                true => column,
                false => Arc::new(CastExpr::new(column, target.clone(), None)),
            });
            let origin = origins.get(index).copied().flatten().filter(|_| unchanged);
            let origin = origin.and_then(|origin| self.stage.fields().get(origin));
            fields.push(output::output_field(name, target, origin.map(AsRef::as_ref)));
        }
        let schema = Arc::new(Schema::new(fields));
        if needs_cast {
            self.steps.push(Step::Project(casts, schema.clone()));
        }
        let stage_columns = self.stage.fields().len();
        let (inputs, input_fields): (Vec<Input>, Vec<Field>) = self
            .inputs
            .iter()
            .filter_map(|&index| {
                let field = self.table.fields().get(index)?;
                let input = match index < stage_columns {
                    true => Input::Stage(index),
                    false => Input::System(field.name().clone(), field.data_type().clone()),
                };
                Some((input, field.as_ref().clone().with_nullable(true)))
            })
            .unzip();
        Ok(Program::new(inputs, Arc::new(Schema::new(input_fields)), self.steps, schema))
    }
}

/// The physical expression; arithmetic that overflows fails instead of wrapping round.
fn physical(expression: &Expr, input: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let properties = ExecutionProps::new();
    let context = PhysicalPlanningContext::default();
    let made = create_physical_expr(expression, input, &properties, &context)?;
    let checked = made.transform_up(|node| {
        Ok(match node.downcast_ref::<BinaryExpr>() {
            Some(binary)
                if matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply) =>
            {
                Transformed::yes(
                    Arc::new(binary.clone().with_fail_on_overflow(true)) as Arc<dyn PhysicalExpr>
                )
            }
            _ => Transformed::no(node),
        })
    })?;
    Ok(checked.data)
}
