//! Plans in few words.

use highwater_sql::catalog::{Column, IndexColumn};
use highwater_sql::expr::{AggregateCall, BinaryOp, Expr, UnaryOp};
use highwater_sql::plan::{
    Bound, ChangedRows, ConflictAction, ConsumePlan, Ddl, Distinct, From, KeyBounds, Lookup, Meaning, OutputColumn,
    Plan, QueryPlan, Relation, TableAccess, TableChange, TableSpec, WriteKind, WritePlan,
};
use highwater_sql::value::Value;

/// A bound statement.
pub fn bound(bound: &Bound) -> String {
    let mut out = String::new();
    if let Some(user) = &bound.execute_as {
        out.push_str(&format!("as {user:?}\n"));
    }
    if !bound.parameters.is_empty() {
        let types: Vec<String> = bound.parameters.iter().map(ToString::to_string).collect();
        out.push_str(&format!("parameters {}\n", types.join(", ")));
    }
    out.push_str(&match &bound.plan {
        Plan::Query(plan) => query(plan),
        Plan::Write(plan) => write(plan),
        Plan::Ddl(plan) => ddl(plan),
        Plan::User(plan) => format!("{plan:?}"),
        Plan::CreateFrom(plan) => {
            let table = table_spec(&plan.table, plan.if_not_exists);
            format!("{table}\nwith data {}\n{}", plan.with_data, query(&plan.query))
        }
        Plan::Cluster(plan) => format!("{plan:?}"),
        Plan::Consume(plan) => consume(plan),
        Plan::Ack(plan) => {
            format!(
                "ack {}.{} group {:?} partition {} upto {}",
                plan.topic.namespace,
                plan.topic.name,
                plan.group,
                plan.partition,
                expr(&plan.upto)
            )
        }
    });
    out
}

fn consume(plan: &ConsumePlan) -> String {
    format!(
        "consume {}.{} partition {:?} group {:?} start {:?} limit {} auto_ack {} timeout {} us",
        plan.topic.namespace,
        plan.topic.name,
        plan.partition,
        plan.group,
        plan.start,
        plan.limit.as_ref().map_or_else(|| "none".to_owned(), expr),
        plan.auto_ack,
        plan.timeout_micros
    )
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn lookup(lookup: Option<&Lookup>) -> &'static str {
    match lookup {
        None => "",
        Some(Lookup { index: None, .. }) => " lookup",
        Some(Lookup { index: Some(_), .. }) => " lookup by index",
    }
}

fn relation(relation: &Relation) -> String {
    match relation {
        Relation::Block(plan) => query(plan),
        Relation::Shared { id, name, plan } => format!("with {name} #{id}\n{}", indented(&query(plan))),
        Relation::Indexed { scan, keys, probes, .. } => {
            format!("indexed [{}] = [{}]\n{}", list(keys), list(probes), indented(&query(scan)))
        }
        Relation::Values(rows) => {
            format!("values {}", rows.iter().map(|row| format!("({})", list(row))).collect::<Vec<_>>().join(", "))
        }
        Relation::Join(join) => {
            let keys: Vec<String> = join.keys.iter().map(|(l, r)| format!("{} = {}", expr(l), expr(r))).collect();
            let lookup = lookup(join.lookup.as_ref());
            format!(
                "{:?} join [{}]{lookup}{}\n{}\n{}",
                join.kind,
                keys.join(", "),
                join.condition.as_ref().map_or_else(String::new, |condition| format!(" on {}", expr(condition))),
                indented(&self::relation(&join.left)),
                indented(&self::relation(&join.right))
            )
        }
        Relation::Filter { input, condition } => {
            format!("filter {}\n{}", expr(condition), indented(&self::relation(input)))
        }
        Relation::Apply { input, subqueries } => {
            let subqueries: Vec<String> = subqueries
                .iter()
                .map(|subquery| {
                    let outer: Vec<String> =
                        subquery.outer.iter().map(|(slot, value)| format!("${} = {}", slot + 1, expr(value))).collect();
                    let meaning = match &subquery.meaning {
                        Meaning::Scalar => "value".to_owned(),
                        Meaning::Exists => "exists".to_owned(),
                        Meaning::Compare { pairs, op, all } => {
                            let pairs: Vec<String> =
                                pairs.iter().map(|(l, r)| format!("{} {op:?} {}", expr(l), expr(r))).collect();
                            format!("{} [{}]", if *all { "all" } else { "any" }, pairs.join(", "))
                        }
                    };
                    let lookup = lookup(subquery.lookup.as_ref());
                    format!("{meaning}{lookup} with [{}]\n{}", outer.join(", "), indented(&query(&subquery.plan)))
                })
                .collect();
            format!("apply\n{}\n{}", indented(&subqueries.join("\n")), indented(&self::relation(input)))
        }
        Relation::Window { input, calls } => {
            let calls: Vec<String> = calls
                .iter()
                .map(|call| {
                    format!(
                        "{:?}({}) partition [{}] order [{}] {:?} {:?} to {:?}",
                        call.function,
                        list(&call.args),
                        list(&call.partition_by),
                        call.order_by.iter().map(|key| expr(&key.expr)).collect::<Vec<_>>().join(", "),
                        call.frame.unit,
                        call.frame.start,
                        call.frame.end
                    )
                })
                .collect();
            format!("window {}\n{}", calls.join("; "), indented(&self::relation(input)))
        }
        Relation::Set(set) => format!(
            "{:?}{}\n{}\n{}",
            set.operator,
            if set.all { " all" } else { "" },
            indented(&self::relation(&set.left)),
            indented(&self::relation(&set.right))
        ),
        Relation::Function(call) => format!("{:?}({}) ordinality {}", call.function, list(&call.args), call.ordinality),
        Relation::Often(often) => format!("often\n{}", indented(&query(&often.plan))),
        Relation::Working { id, name } => format!("working {name} #{id}"),
        Relation::Recursive(recursive) => format!(
            "recursive {} #{} all {}\n{}\n{}",
            recursive.name,
            recursive.id,
            recursive.all,
            indented(&query(&recursive.first)),
            indented(&query(&recursive.step))
        ),
        Relation::Lateral(lateral) => {
            let outer: Vec<String> =
                lateral.outer.iter().map(|(slot, value)| format!("${} = {}", slot + 1, expr(value))).collect();
            format!(
                "{:?} lateral with [{}]{}\n{}\n{}",
                lateral.kind,
                outer.join(", "),
                lateral.condition.as_ref().map_or_else(String::new, |condition| format!(" on {}", expr(condition))),
                indented(&self::relation(&lateral.left)),
                indented(&query(&lateral.right))
            )
        }
    }
}

fn query(plan: &QueryPlan) -> String {
    let mut lines: Vec<String> = plan
        .before
        .iter()
        .map(|once| {
            let what = if once.exists { "exists" } else { "value" };
            format!("before ${} = {what}\n{}", once.slot + 1, indented(&query(&once.plan)))
        })
        .collect();
    lines.push(match &plan.from {
        From::Nothing => "from nothing".to_owned(),
        From::Table { table, access } => format!("from {}.{} {}", table.namespace, table.name, self::access(access)),
        From::System(table) => format!("from system {table:?}"),
        From::Tree(tree) => format!("from\n{}", indented(&relation(tree))),
        From::Explain(explained) => format!("explain analyze {} json {}", explained.analyze, explained.json),
    });
    if let Some(filter) = &plan.filter {
        lines.push(format!("filter {}", expr(filter)));
    }
    if let Some(aggregate) = &plan.aggregate {
        lines.push(format!(
            "group by [{}]{} calls [{}]",
            list(&aggregate.keys),
            if aggregate.sets.is_empty() { String::new() } else { format!(" sets {:?}", aggregate.sets) },
            aggregate.calls.iter().map(call).collect::<Vec<_>>().join(", ")
        ));
    }
    if let Some(having) = &plan.having {
        lines.push(format!("having {}", expr(having)));
    }
    let distinct = match plan.distinct {
        Distinct::No => String::new(),
        Distinct::Rows => " distinct".to_owned(),
        Distinct::On(leading) => format!(" distinct on {leading}"),
    };
    lines.push(format!("output{distinct} {}", plan.projection.iter().map(output).collect::<Vec<_>>().join(", ")));
    if !plan.order_by.is_empty() {
        let keys: Vec<String> = plan
            .order_by
            .iter()
            .map(|key| {
                let direction = if key.descending { "desc" } else { "asc" };
                let nulls = if key.nulls_first { "nulls first" } else { "nulls last" };
                format!("{} {direction} {nulls}", expr(&key.expr))
            })
            .collect();
        lines.push(format!("order by {}", keys.join(", ")));
    }
    for (word, value) in [("limit", &plan.limit), ("offset", &plan.offset)] {
        if let Some(value) = value {
            lines.push(format!("{word} {}", expr(value)));
        }
    }
    lines.join("\n")
}

fn output(column: &OutputColumn) -> String {
    let flags = [(column.primary_key, " pk"), (column.not_null, " nn"), (column.unique, " uq")];
    let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
    format!("{} {}{flags} = {}", column.name, column.data_type, expr(&column.expr))
}

fn call(call: &AggregateCall) -> String {
    let distinct = if call.distinct { "distinct " } else { "" };
    let filtered = if call.filtered { " filtered" } else { "" };
    let order: String = call.order.iter().map(|key| if key.descending { " desc" } else { " asc" }).collect();
    format!("{:?}({distinct}{}){filtered}{order}:{}", call.function, list(&call.args), call.data_type)
}

fn write(plan: &WritePlan) -> String {
    let value = |value: &Option<Expr>| value.as_ref().map_or_else(|| "DEFAULT".to_owned(), expr);
    let shown = match plan.change() {
        WriteKind::Insert { columns, rows, conflict } => {
            let ids: Vec<String> = columns.iter().map(|id| id.0.to_string()).collect();
            let rows: Vec<String> = rows
                .iter()
                .map(|row| format!("\n  ({})", row.iter().map(value).collect::<Vec<_>>().join(", ")))
                .collect();
            let conflict = conflict.as_ref().map_or_else(String::new, |on| match &on.action {
                ConflictAction::Nothing => format!("\non conflict {:?} nothing", on.target),
                ConflictAction::Update { assignments, filter } => {
                    let set: Vec<String> =
                        assignments.iter().map(|(id, to)| format!("{} = {}", id.0, value(to))).collect();
                    format!("\non conflict {:?} set {}{}", on.target, set.join(", "), condition(filter))
                }
            });
            format!("insert table {} columns [{}]{}{conflict}", plan.table.0, ids.join(", "), rows.concat())
        }
        WriteKind::Update { assignments, access, filter } => {
            let set: Vec<String> = assignments.iter().map(|(id, to)| format!("{} = {}", id.0, value(to))).collect();
            format!(
                "update table {} {}\nset {}{}",
                plan.table.0,
                self::access(access),
                set.join(", "),
                condition(filter)
            )
        }
        WriteKind::Delete { access, filter } => {
            format!("delete table {} {}{}", plan.table.0, self::access(access), condition(filter))
        }
        WriteKind::Truncate => format!("truncate table {}", plan.table.0),
        WriteKind::InsertFrom { columns, types, query, conflict } => {
            let ids: Vec<String> = columns.iter().zip(types).map(|(id, of)| format!("{} {of}", id.0)).collect();
            let conflict = conflict.as_ref().map_or_else(String::new, |on| format!("\non conflict {:?}", on.target));
            format!("insert table {} columns [{}] from{conflict}\n{}", plan.table.0, ids.join(", "), self::query(query))
        }
        WriteKind::UpdateFrom { assignments, rows } => {
            let set: Vec<String> = assignments
                .iter()
                .map(|(id, at)| at.map_or_else(|| format!("{} = DEFAULT", id.0), |at| format!("{} = #{at}", id.0)))
                .collect();
            format!("update table {} set {} of\n{}", plan.table.0, set.join(", "), changed(rows))
        }
        WriteKind::DeleteFrom { rows } => format!("delete table {} of\n{}", plan.table.0, changed(rows)),
        WriteKind::Answered { .. } => panic!("an answered change in another"),
    };
    if let Some(returned) = plan.returned() {
        return format!("{shown}\nreturning\n{}", query(returned));
    }
    if plan.returning.is_empty() {
        return shown;
    }
    format!("{shown}\nreturning {}", plan.returning.iter().map(expr).collect::<Vec<_>>().join(", "))
}

fn changed(rows: &ChangedRows) -> String {
    match rows {
        ChangedRows::Asked { query, access } => format!("{}\n{}", self::access(access), self::query(query)),
        ChangedRows::Read(rows) => format!("{} rows", rows.len()),
    }
}

fn condition(filter: &Option<Expr>) -> String {
    filter.as_ref().map_or_else(String::new, |filter| format!("\nfilter {}", expr(filter)))
}

fn ddl(plan: &Ddl) -> String {
    match plan {
        Ddl::CreateTable { table, if_not_exists } => table_spec(table, *if_not_exists),
        Ddl::AddSource { topic, table_version, source } => format!(
            "add source table {} v{table_version} to topic {} on {:?} payload {:?}\nfilter {} text {:?}\npartition by {} text {:?}",
            source.table.0,
            topic.0,
            source.operation,
            source.payload,
            source.filter.as_ref().map_or_else(|| "none".to_owned(), expr),
            source.filter_text,
            source.partition_by.as_ref().map_or_else(|| "none".to_owned(), expr),
            source.partition_by_text
        ),
        Ddl::AlterTable { table, table_version, change } => {
            format!("alter table {} v{table_version} {}", table.0, table_change(change))
        }
        Ddl::CreateIndex { table, table_version, index, if_not_exists } => {
            let column =
                |part: &IndexColumn| format!("{}{}", part.column.0, if part.descending { " desc" } else { "" });
            let columns: Vec<String> = index.columns.iter().map(column).collect();
            format!(
                "create index {} on table {} v{table_version} ({}) unique {} constraint {} if_not_exists {if_not_exists}",
                index.name,
                table.0,
                columns.join(", "),
                index.unique,
                index.constraint
            )
        }
        other => format!("{other:?}"),
    }
}

fn table_change(change: &TableChange) -> String {
    match change {
        TableChange::AddColumn(column) => format!("add{}", shown_column(column)),
        TableChange::AddCheck(check) => format!("add check {} {} text {:?}", check.name, expr(&check.expr), check.text),
        TableChange::SetDefault { column, default: Some((value, text)) } => {
            format!("column {} default {} text {text:?}", column.0, expr(value))
        }
        TableChange::Several(changes) => changes.iter().map(table_change).collect::<Vec<_>>().join("; "),
        other => format!("{other:?}"),
    }
}

fn shown_column(column: &Column) -> String {
    let limit = column.max_chars.map_or_else(String::new, |most| format!(" at most {most}"));
    let null = if column.nullable { "" } else { " not null" };
    let default = column.default.as_ref().map_or_else(String::new, |default| {
        format!(" default {} text {:?}", expr(default), column.default_text.as_deref().unwrap_or_default())
    });
    let default = if column.serial { " serial".to_owned() } else { default };
    format!("  {} {} {}{limit}{null}{default}", column.id.0, column.name, column.data_type)
}

fn table_spec(table: &TableSpec, if_not_exists: bool) -> String {
    let mut lines = vec![format!(
        "create table {}.{} {:?} {:?} key {:?} partition {} ttl {:?} if_not_exists {if_not_exists}",
        table.namespace,
        table.name,
        table.kind,
        table.access_level,
        table.primary_key,
        table.partition_columns,
        table.ttl_seconds
    )];
    lines.extend(table.columns.iter().map(shown_column));
    for check in &table.checks {
        lines.push(format!("  check {} {} text {:?}", check.name, expr(&check.expr), check.text));
    }
    for index in &table.indexes {
        let columns: Vec<String> = index.columns.iter().map(|part| part.column.0.to_string()).collect();
        lines.push(format!("  unique {} ({})", index.name, columns.join(", ")));
    }
    lines.join("\n")
}

fn access(access: &TableAccess) -> String {
    match access {
        TableAccess::Full => "full".to_owned(),
        TableAccess::Index { index, bounds } => {
            format!("index {} {}", index.0, self::access(&TableAccess::Bounds(bounds.clone())))
        }
        TableAccess::Bounds(bounds) => {
            format!("bounds [{}]", bounds.iter().map(bound_of).collect::<Vec<_>>().join("; "))
        }
    }
}

fn bound_of(bounds: &KeyBounds) -> String {
    let side = |side: &Option<(Expr, bool)>, exclusive: &str, inclusive: &str| {
        side.as_ref().map_or_else(String::new, |(value, closed)| {
            format!(" {} {}", if *closed { inclusive } else { exclusive }, expr(value))
        })
    };
    format!("({}){}{}", list(&bounds.equal), side(&bounds.lower, ">", ">="), side(&bounds.upper, "<", "<="))
}

fn list(exprs: &[Expr]) -> String {
    exprs.iter().map(expr).collect::<Vec<_>>().join(", ")
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Boolean(truth) => truth.to_string(),
        Value::SmallInt(number) => number.to_string(),
        Value::Int(number) => number.to_string(),
        Value::BigInt(number) => number.to_string(),
        Value::Double(number) => format!("{number:?}"),
        Value::Decimal(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("{bytes:02x?}"),
        Value::Json(json) => format!("json {json}"),
        Value::Timestamp(micros) => format!("@{micros}"),
        Value::Float(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::DateTime(_)
        | Value::Interval(_)
        | Value::Uuid(_)
        | Value::Embedding(_)
        | Value::Array(_) => value.to_string(),
    }
}

/// An expression: columns are #position, parameters $n, types behind a colon where they are not plain to see.
pub fn expr(expr: &Expr) -> String {
    let e = self::expr;
    let not = |negated: bool| if negated { "not " } else { "" };
    match expr {
        Expr::Literal(literal, data_type) => format!("{}:{data_type}", value(literal)),
        Expr::Column(index, _) => format!("#{index}"),
        Expr::Param(index, data_type) => format!("${}:{data_type}", index + 1),
        Expr::Unary { op: UnaryOp::Not, expr } => format!("(not {})", e(expr)),
        Expr::Unary { op: UnaryOp::Minus, expr } => format!("(- {})", e(expr)),
        Expr::Unary { op: UnaryOp::BitNot, expr } => format!("(~ {})", e(expr)),
        Expr::Binary { op, left, right, data_type } => {
            let shown = match op {
                BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Modulo => {
                    format!(":{data_type}")
                }
                _ => String::new(),
            };
            format!("({} {op:?}{shown} {})", e(left), e(right))
        }
        Expr::IsNull { expr, negated } => format!("({} is {}null)", e(expr), not(*negated)),
        Expr::InList { expr, list, negated } => format!("({} {}in [{}])", e(expr), not(*negated), self::list(list)),
        Expr::Like { expr, pattern, escape, case_insensitive, negated } => {
            format!(
                "({} {}{} {} escape {escape:?})",
                e(expr),
                not(*negated),
                if *case_insensitive { "ilike" } else { "like" },
                e(pattern)
            )
        }
        Expr::Case { branches, otherwise, data_type } => {
            let branches: Vec<String> =
                branches.iter().map(|(when, then)| format!("{} => {}", e(when), e(then))).collect();
            format!(
                "case:{data_type}({}; {})",
                branches.join(", "),
                otherwise.as_ref().map_or_else(|| "-".to_owned(), |other| e(other))
            )
        }
        Expr::Cast { expr, to, assignment } => {
            format!("{}({} as {to})", if *assignment { "store" } else { "cast" }, e(expr))
        }
        Expr::Function { function, args, data_type } => format!("{function:?}({}):{data_type}", self::list(args)),
        Expr::IsDistinct { left, right, negated } => format!("({} is {}distinct {})", e(left), not(*negated), e(right)),
        Expr::IsBool { expr, value, negated } => format!("({} is {}{value:?})", e(expr), not(*negated)),
    }
}
