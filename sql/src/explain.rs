//! What EXPLAIN shows: a plan as a tree of steps in words, with what was counted when it ran.
//!
//! Owns the wording alone. What an operation reads is shown as the planner left it; where rows live, the caller says.

mod text;

use crate::catalog::Table;
use crate::eval;
use crate::execute::{Counted, MANY_RUNS, Statistics};
use crate::expr::Expr;
use crate::order::{self, Reading};
use crate::pipeline::Steps;
use crate::plan::{
    ChangedRows, Distinct, From, JoinKind, KeyBounds, Lookup, Meaning, Plan, QueryPlan, RETURNED_ROWS, Relation,
    SetOperator, TableAccess, TableFunction, WindowFunction, WriteKind,
};
use crate::system;

use self::text::{aggregate, shown, sort_keys};

/// The detail of what was counted.
const RAN: &str = "ran";

/// One step: what it does, what about it, what was counted, and the steps below.
#[derive(Debug, Default)]
struct Step {
    title: String,
    details: Vec<(&'static str, String)>,
    below: Vec<Step>,
}

/// What the explained plan is shown with.
pub struct Setting<'a> {
    /// What was counted, with ANALYZE.
    pub statistics: Option<&'a Statistics>,
    /// Which shards of a table are read.
    pub shards: &'a dyn Fn(&Table, &TableAccess) -> String,
    /// The table of a write, by its id.
    pub table: &'a dyn Fn(crate::catalog::ObjectId) -> Option<std::sync::Arc<Table>>,
}

/// The rows of EXPLAIN: one line each, or with `json` one document.
#[must_use]
pub fn rows(plan: &Plan, setting: &Setting<'_>, json: bool) -> Vec<String> {
    let step = match plan {
        Plan::Query(plan) => query(plan, setting),
        Plan::Write(write) => self::write(write, setting),
        Plan::Ddl(_) | Plan::CreateFrom(_) | Plan::User(_) | Plan::Consume(_) | Plan::Ack(_) | Plan::Cluster(_) => {
            Step::default()
        }
    };
    if json {
        let mut out = String::new();
        step.json(&mut out);
        return vec![out];
    }
    let mut lines = Vec::new();
    step.lines(0, &mut lines);
    lines
}

impl Step {
    fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    fn over(mut self, below: Self) -> Self {
        self.below.push(below);
        self
    }

    /// With what was counted of it, in the place of what was known of its part so far.
    fn ran(mut self, what: impl Into<String>) -> Self {
        self.details.retain(|(name, _)| *name != RAN);
        self.with(RAN, what)
    }

    fn counted<T>(self, part: &T, setting: &Setting<'_>) -> Self {
        match setting.statistics {
            None => self,
            Some(statistics) => match statistics.of(part) {
                None => self.ran("never"),
                Some(counted) => {
                    let (rows, took) = (counted.rows, took(&counted));
                    self.ran(format!("{rows} rows{took}"))
                }
            },
        }
    }

    fn lines(&self, depth: usize, lines: &mut Vec<String>) {
        let indent = "  ".repeat(depth);
        let arrow = if depth == 0 { "" } else { "-> " };
        lines.push(format!("{indent}{arrow}{}", self.title));
        for (name, value) in &self.details {
            lines.push(format!("{indent}     {name}: {value}"));
        }
        for step in &self.below {
            step.lines(depth + 1, lines);
        }
    }

    fn json(&self, out: &mut String) {
        out.push_str("{\"step\":");
        crate::json::push_string(&self.title, out);
        for (name, value) in &self.details {
            out.push(',');
            crate::json::push_string(name, out);
            out.push(':');
            crate::json::push_string(value, out);
        }
        if !self.below.is_empty() {
            out.push_str(",\"below\":[");
            for (at, step) in self.below.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                step.json(out);
            }
            out.push(']');
        }
        out.push('}');
    }
}

/// Bytes, time and runs, in words.
fn took(counted: &Counted) -> String {
    let runs = if counted.runs == 1 { String::new() } else { format!(" in {} runs", counted.runs) };
    let bytes = if counted.bytes > 0 { format!(", {} bytes", counted.bytes) } else { String::new() };
    format!("{bytes}, {} us{runs}", counted.micros)
}

/// What was counted of the steps of a SELECT.
enum Ran {
    /// It was not run.
    Unasked,
    /// It was, but not this part of it.
    Never,
    Counted(Counted, Steps),
}

impl Ran {
    fn of(plan: &QueryPlan, setting: &Setting<'_>) -> Self {
        match setting.statistics.map(|statistics| (statistics.of(plan), statistics.steps_of(plan))) {
            None => Self::Unasked,
            Some((None, _)) => Self::Never,
            Some((Some(counted), steps)) => Self::Counted(counted, steps),
        }
    }

    /// A step below the last one.
    fn inner(&self, step: Step, rows: impl FnOnce(&Steps) -> u64) -> Step {
        match self {
            Self::Unasked => step,
            Self::Never => step.ran("never"),
            Self::Counted(_, steps) => step.ran(format!("{} rows", rows(steps))),
        }
    }

    /// What reads; with a condition also how many rows it looked at.
    fn reading(&self, step: Step, is_filtered: bool) -> Step {
        match self {
            Self::Unasked => step,
            Self::Never => step.ran("never"),
            Self::Counted(_, steps) => {
                let of = if is_filtered { format!(" of {} read", steps.read) } else { String::new() };
                step.ran(format!("{} rows{of}, {} us", steps.kept, steps.micros))
            }
        }
    }

    /// The last step, which gives the result.
    fn last(&self, step: Step, reads_and_filters: bool) -> Step {
        match self {
            Self::Unasked => step,
            Self::Never => step.ran("never"),
            Self::Counted(counted, steps) => {
                let of = if reads_and_filters { format!(" of {} read", steps.read) } else { String::new() };
                step.ran(format!("{} rows{of}{}", counted.rows, took(counted)))
            }
        }
    }
}

/// A SELECT: its last step on top.
fn query(plan: &QueryPlan, setting: &Setting<'_>) -> Step {
    let read_in = order::of(plan);
    let (mut step, names) = match &plan.from {
        From::Nothing => (Step::new("One row"), Vec::new()),
        From::Table { table, access } => {
            let mut names: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
            names.push("_seq".into());
            let step = Step::new(format!("Read {}.{}", table.namespace, table.name))
                .with("access", self::access(table, access))
                .with("shards", (setting.shards)(table, access));
            let step = match read_in {
                Some(reading) => step.with("order", in_order_of(plan, table, access, reading)),
                None => step,
            };
            (step, names)
        }
        From::System(table) => {
            let names = system::columns(*table).iter().map(|column| column.name.to_owned()).collect();
            (Step::new(format!("Read {}.{}", system::NAMESPACE, system::name(*table))), names)
        }
        From::Tree(relation) => (self::relation(relation, setting), self::names(relation)),
        From::Explain(_) => (Step::new("Explain"), Vec::new()),
    };
    if let Some(filter) = &plan.filter {
        step = step.with("filter", shown(filter, &names));
    }
    let ran = Ran::of(plan, setting);
    let mut is_reading = true;
    // A step on top of what is there: that is a step below the last one then.
    let mut on_top = |step: Step, below: Step, rows: fn(&Steps) -> u64| {
        let below = if is_reading { ran.reading(below, plan.filter.is_some()) } else { below };
        is_reading = false;
        ran.inner(step.over(below), rows)
    };
    let mut names = names;
    if let Some(grouped) = &plan.aggregate {
        let keys: Vec<String> = grouped.keys.iter().map(|key| shown(key, &names)).collect();
        let calls: Vec<String> = grouped.calls.iter().map(|call| aggregate(call, &names)).collect();
        let sets = grouped.sets.len();
        let title = if sets > 0 {
            format!("Group by {sets} grouping sets of {}", keys.join(", "))
        } else if keys.is_empty() {
            "Aggregate".to_owned()
        } else {
            format!("Group by {}", keys.join(", "))
        };
        step = on_top(Step::new(title).with("computes", calls.join(", ")), step, |steps| steps.groups);
        let of_sets = (sets > 0).then(|| "(keys not in the set)".to_owned());
        names = keys.into_iter().chain(of_sets).chain(calls).collect();
        if let Some(having) = &plan.having {
            step = step.with("having", shown(having, &names));
        }
    }
    match plan.distinct {
        Distinct::No => {}
        Distinct::Rows => step = on_top(Step::new("Distinct"), step, |steps| steps.distinct),
        Distinct::On(keys) => {
            let title = format!("First row of each of the {keys} leading sort keys");
            step = on_top(Step::new(title), step, |steps| steps.distinct);
        }
    }
    if !plan.order_by.is_empty() && (read_in.is_none() || plan.aggregate.is_some()) {
        let top =
            if plan.limit.is_some() && !matches!(plan.distinct, Distinct::On(_)) { "Top of a sort" } else { "Sort" };
        let title = format!("{top} by {}", sort_keys(&plan.order_by, &names));
        step = on_top(Step::new(title), step, |steps| steps.sorted);
    }
    let limits = [("limit", &plan.limit), ("offset", &plan.offset)];
    let limits = limits.iter().filter_map(|(word, value)| Some(format!("{word} {}", shown(value.as_ref()?, &names))));
    let limits: Vec<String> = limits.collect();
    if !limits.is_empty() {
        step = on_top(Step::new(capital(&limits.join(" "))), step, |_| 0);
    }
    step = ran.last(step, is_reading && plan.filter.is_some());
    for once in &plan.before {
        let what = if once.exists { "whether there is a row of" } else { "the value of" };
        let below = query(&once.plan, setting);
        step.below.push(Step::new(format!("Once before, ${} is {what}", once.slot + 1)).over(below));
    }
    step
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// In which order rows are read that need no sort.
fn in_order_of(plan: &QueryPlan, table: &Table, access: &TableAccess, reading: Reading) -> String {
    let spares = if plan.aggregate.is_some() { "the first value decides" } else { "nothing to sort" };
    let path = match access {
        TableAccess::Full | TableAccess::Bounds(_) => "the key".to_owned(),
        TableAccess::Index { index, .. } => {
            table.index(*index).map_or_else(|| "?".into(), |index| format!("index {}", index.name))
        }
    };
    match reading {
        Reading::Forward => format!("as {path} has it, {spares}"),
        Reading::Backward => format!("as {path} has it, backwards, {spares}"),
    }
}

/// Which part of a table's keys is read.
fn access(table: &Table, access: &TableAccess) -> String {
    match access {
        TableAccess::Full => "all keys".into(),
        TableAccess::Bounds(bounds) => {
            let all: Vec<String> = bounds.iter().take(3).map(|bound| bound_of(table, bound)).collect();
            let more = if bounds.len() > 3 { format!(" and {} more", bounds.len() - 3) } else { String::new() };
            let points = bounds.iter().all(|bound| bound.equal.len() == table.primary_key.len());
            let kind = if points { "lookup of keys" } else { "range of keys" };
            if bounds.is_empty() { "nothing can match".into() } else { format!("{kind} {}{more}", all.join(" or ")) }
        }
        TableAccess::Index { index, bounds } => {
            let name = table.indexes.iter().find(|known| known.id == *index).map_or("?", |index| index.name.as_str());
            format!("index {name}, {} ranges, then the rows by their keys", bounds.len())
        }
    }
}

fn bound_of(table: &Table, bound: &KeyBounds) -> String {
    let name = |at: usize| {
        let column = table.primary_key.get(at).and_then(|column| table.columns.get(*column as usize));
        column.map_or("?", |column| column.name.as_str())
    };
    let is_array = |at: usize, value: &Expr| {
        let column = table.primary_key.get(at).and_then(|column| table.columns.get(*column as usize));
        column
            .zip(eval::data_type(value).element())
            .is_some_and(|(column, element)| element.same_kind(&column.data_type))
    };
    let equal_to = |at: usize, value: &Expr| {
        let value_text = shown(value, &[]);
        if is_array(at, value) { format!("= any ({value_text})") } else { format!("= {value_text}") }
    };
    let mut parts: Vec<String> =
        bound.equal.iter().enumerate().map(|(at, value)| format!("{} {}", name(at), equal_to(at, value))).collect();
    let next = name(bound.equal.len());
    for (side, words) in [(&bound.lower, (">=", ">")), (&bound.upper, ("<=", "<"))] {
        if let Some((value, inclusive)) = side {
            let word = if *inclusive { words.0 } else { words.1 };
            parts.push(format!("{next} {word} {}", shown(value, &[])));
        }
    }
    format!("({})", parts.join(" and "))
}

fn relation(relation: &Relation, setting: &Setting<'_>) -> Step {
    let step = match relation {
        Relation::Block(plan) => return query(plan, setting),
        Relation::Shared { name, plan, .. } => {
            Step::new(format!("Rows of {name}, read once")).over(query(plan, setting))
        }
        Relation::Indexed { scan, keys, probes, .. } => {
            let names = outputs(scan);
            let pairs: Vec<String> = keys
                .iter()
                .zip(probes)
                .map(|(key, probe)| format!("{} = {}", shown(key, &names), shown(probe, &[])))
                .collect();
            let step = Step::new("Look up in rows that are read once");
            let step = if pairs.is_empty() { step } else { step.with("key", pairs.join(" and ")) };
            step.over(query(scan, setting))
        }
        Relation::Values(rows) => Step::new(format!("Values, {} rows", rows.len())),
        Relation::Join(join) => {
            let (left, right) = (self::names(&join.left), self::names(&join.right));
            let kind = match join.kind {
                JoinKind::Inner => "Join",
                JoinKind::Left => "Left join",
                JoinKind::Full => "Full join",
            };
            let keys: Vec<String> =
                join.keys.iter().map(|(l, r)| format!("{} = {}", shown(l, &left), shown(r, &right))).collect();
            let title = if keys.is_empty() { format!("{kind} of all pairs") } else { format!("{kind} by hash") };
            let mut step = Step::new(title);
            if !keys.is_empty() {
                step = step.with("key", keys.join(" and "));
            }
            if let Some(lookup) = &join.lookup {
                let by = looked_up_by(&join.right, lookup);
                step = step.with("right side", format!("looked up by {by} while the left side is small"));
            }
            if let Some(condition) = &join.condition {
                let both: Vec<String> = left.iter().chain(&right).cloned().collect();
                step = step.with("condition", shown(condition, &both));
            }
            step.over(self::relation(&join.left, setting)).over(self::relation(&join.right, setting))
        }
        Relation::Filter { input, condition } => {
            let names = self::names(input);
            Step::new("Filter").with("filter", shown(condition, &names)).over(self::relation(input, setting))
        }
        Relation::Apply { input, subqueries } => {
            let mut step = Step::new("Subqueries").over(self::relation(input, setting));
            if let Some(lookup) = subqueries.iter().find_map(|subquery| subquery.lookup.as_ref()) {
                let by = looked_up_by(input, lookup);
                step = step.with("rows", format!("looked up by {by} while the subquery gives few"));
            }
            for subquery in subqueries {
                let what = match &subquery.meaning {
                    Meaning::Scalar => "its value",
                    Meaning::Exists => "whether there is a row",
                    Meaning::Compare { all: true, .. } => "a comparison with all rows",
                    Meaning::Compare { all: false, .. } => "a comparison with any row",
                };
                let often = if subquery.outer.is_empty() { "once" } else { "per distinct outer value" };
                let asked = Step::new(format!("{}, {often}", capital(what))).over(query(&subquery.plan, setting));
                step.below.push(match &subquery.at_once {
                    Some(at_once) => {
                        let later = Step::new(format!("After {MANY_RUNS} of them, from what is read at once"));
                        asked.over(later.over(query(at_once, setting)))
                    }
                    None => asked,
                });
            }
            step
        }
        Relation::Window { input, calls } => {
            let names = self::names(input);
            let calls: Vec<String> = calls
                .iter()
                .map(|call| {
                    let function = match &call.function {
                        WindowFunction::Aggregate(call) => aggregate(call, &names),
                        other => text::name(&format!("{other:?}")),
                    };
                    let partition: Vec<String> = call.partition_by.iter().map(|expr| shown(expr, &names)).collect();
                    let partition = if partition.is_empty() {
                        String::new()
                    } else {
                        format!("partition by {} ", partition.join(", "))
                    };
                    let order = if call.order_by.is_empty() {
                        String::new()
                    } else {
                        format!("order by {}", sort_keys(&call.order_by, &names))
                    };
                    format!("{function} over ({})", format!("{partition}{order}").trim())
                })
                .collect();
            Step::new("Window functions").with("computes", calls.join(", ")).over(self::relation(input, setting))
        }
        Relation::Set(set) => {
            let name = match set.operator {
                SetOperator::Union => "Union",
                SetOperator::Intersect => "Intersect",
                SetOperator::Except => "Except",
            };
            let title = if set.all { format!("{name} all") } else { name.to_owned() };
            Step::new(title).over(self::relation(&set.left, setting)).over(self::relation(&set.right, setting))
        }
        Relation::Function(call) => {
            let name = match call.function {
                TableFunction::Series => "generate_series",
                TableFunction::Unnest => "unnest",
            };
            let args: Vec<String> = call.args.iter().map(|arg| shown(arg, &[])).collect();
            Step::new(format!("Rows of {name}({})", args.join(", ")))
        }
        Relation::Often(often) => {
            let later = Step::new(format!("After {MANY_RUNS} runs, from what is read at once"));
            Step::new("Look up by outer rows")
                .over(query(&often.plan, setting))
                .over(later.over(query(&often.at_once, setting)))
        }
        Relation::Working { id: RETURNED_ROWS, .. } => Step::new("Changed rows".to_owned()),
        Relation::Working { name, .. } => Step::new(format!("Rows of {name}, of the round before")),
        Relation::Recursive(recursive) => {
            let mut step = Step::new(format!("Recursive query {}, in rounds", recursive.name));
            step = step.with("keeps", if recursive.all { "all rows" } else { "rows that are new" });
            step.over(query(&recursive.first, setting)).over(query(&recursive.step, setting))
        }
        Relation::Lateral(lateral) => {
            let left = self::names(&lateral.left);
            let title =
                if lateral.kind == JoinKind::Left { "Left join of a query per row" } else { "Join of a query per row" };
            let sees: Vec<String> =
                lateral.outer.iter().map(|(slot, value)| format!("${} = {}", slot + 1, shown(value, &left))).collect();
            let mut step = Step::new(title).with("sees", sees.join(", "));
            if let Some(condition) = &lateral.condition {
                let both: Vec<String> = left.iter().cloned().chain(outputs(&lateral.right)).collect();
                step = step.with("condition", shown(condition, &both));
            }
            step.over(self::relation(&lateral.left, setting)).over(query(&lateral.right, setting))
        }
    };
    step.counted(relation, setting)
}

/// By which key or index a table is read where few values are looked up in it.
fn looked_up_by(table: &Relation, lookup: &Lookup) -> String {
    let (Relation::Block(plan), Some(index)) = (table, lookup.index) else { return "key".into() };
    match &plan.from {
        From::Table { table, .. } => match table.index(index) {
            Some(index) => {
                let columns: Vec<&str> =
                    table.index_columns(index).take(lookup.keys.len()).map(|column| column.name.as_str()).collect();
                format!("index {} ({})", index.name, columns.join(", "))
            }
            None => "an index".into(),
        },
        From::Nothing | From::System(_) | From::Tree(_) | From::Explain(_) => "an index".into(),
    }
}

fn outputs(plan: &QueryPlan) -> Vec<String> {
    let table = match &plan.from {
        From::Table { table, .. } => Some(&table.name),
        From::Nothing | From::System(_) | From::Tree(_) | From::Explain(_) => None,
    };
    let name = |column: &crate::plan::OutputColumn| match table {
        Some(table) => format!("{table}.{}", column.name),
        None => column.name.clone(),
    };
    plan.projection.iter().map(name).collect()
}

/// What the columns of a relation are called.
fn names(relation: &Relation) -> Vec<String> {
    match relation {
        Relation::Block(plan) | Relation::Shared { plan, .. } | Relation::Indexed { scan: plan, .. } => outputs(plan),
        Relation::Values(rows) => (1..=rows.first().map_or(0, Vec::len)).map(|at| format!("column{at}")).collect(),
        Relation::Join(join) => names(&join.left).into_iter().chain(names(&join.right)).collect(),
        Relation::Filter { input, .. } => names(input),
        Relation::Apply { input, subqueries } => {
            let made = (1..=subqueries.len()).map(|at| format!("(subquery {at})"));
            names(input).into_iter().chain(made).collect()
        }
        Relation::Window { input, calls } => {
            let made = (1..=calls.len()).map(|at| format!("(window {at})"));
            names(input).into_iter().chain(made).collect()
        }
        Relation::Set(set) => names(&set.left),
        Relation::Function(call) => {
            let number = call.ordinality.then(|| "ordinality".to_owned());
            std::iter::once("value".to_owned()).chain(number).collect()
        }
        Relation::Recursive(recursive) => outputs(&recursive.first),
        Relation::Often(often) => outputs(&often.plan),
        Relation::Working { name, .. } => vec![name.clone()],
        Relation::Lateral(lateral) => names(&lateral.left).into_iter().chain(outputs(&lateral.right)).collect(),
    }
}

/// INSERT, UPDATE, DELETE and TRUNCATE: where they write and what they look at.
fn write(write: &crate::plan::WritePlan, setting: &Setting<'_>) -> Step {
    let table = (setting.table)(write.table);
    let name = table
        .as_ref()
        .map_or_else(|| format!("table {}", write.table.0), |table| format!("{}.{}", table.namespace, table.name));
    let over = |step: Step, access: &TableAccess, filter: Option<&crate::expr::Expr>| match &table {
        None => step,
        Some(table) => {
            let names: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
            let step = step.with("access", self::access(table, access)).with("shards", (setting.shards)(table, access));
            match filter {
                Some(filter) => step.with("filter", shown(filter, &names)),
                None => step,
            }
        }
    };
    let step = match write.change() {
        WriteKind::Insert { rows, .. } => Step::new(format!("Insert {} rows into {name}", rows.len())),
        WriteKind::Update { access, filter, .. } => over(Step::new(format!("Update {name}")), access, filter.as_ref()),
        WriteKind::Delete { access, filter } => over(Step::new(format!("Delete from {name}")), access, filter.as_ref()),
        WriteKind::Truncate => Step::new(format!("Truncate {name}")),
        WriteKind::InsertFrom { query, .. } => Step::new(format!("Insert into {name}"))
            .with("rows", "read first, then written as one command")
            .over(self::query(query, setting)),
        WriteKind::UpdateFrom { rows, .. } => changed(Step::new(format!("Update {name}")), rows, setting),
        WriteKind::DeleteFrom { rows } => changed(Step::new(format!("Delete from {name}")), rows, setting),
        WriteKind::Answered { .. } => Step::new(format!("Change of {name}")),
    };
    match write.returned() {
        None => step,
        Some(returned) => step.over(query(returned, setting)),
    }
}

/// A change of rows that a query names.
fn changed(step: Step, rows: &ChangedRows, setting: &Setting<'_>) -> Step {
    match rows {
        ChangedRows::Asked { query, .. } => {
            let when = "as the change meets them where all are on its shard; else read first, and again if a changed row moved";
            step.with("rows", when).over(self::query(query, setting))
        }
        ChangedRows::Read(rows) => step.with("rows", format!("{} read first", rows.len())),
    }
}
