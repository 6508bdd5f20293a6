//! What a list chooses by, as SQL.

use rusqlite::types::Value;

use super::columns::{TAG, escaped, state_name, status_name};
use super::up;
use crate::storage::ListQuery;

/// The conditions of a query, with bound values only.
pub(super) struct Filter {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Filter {
    /// Begins with the owner's condition.
    pub(super) fn new(owner: i64, query: &ListQuery) -> Self {
        let mut filter = Self { sql: "owner = ?1".to_owned(), values: vec![Value::from(owner)] };
        filter.add_workspaces(query);
        filter.add_any("status", query.statuses.iter().map(|status| status_name(*status)));
        filter.add_any("state", query.states.iter().map(|state| state_name(*state)));
        if let Some(pinned) = query.pinned {
            filter.add_value("pinned = ", i64::from(pinned));
        }
        for tag in &query.tags {
            let tag = filter.bind(format!("{TAG}{}{TAG}", escaped(tag)));
            filter.add(format!("instr(tags, {tag}) > 0"));
        }
        if let Some(agent) = &query.agent {
            filter.add_value("agent = ", agent.clone());
        }
        if let Some(parent) = &query.parent {
            filter.add_value("parent = ", parent.as_str().to_owned());
        }
        filter.add_times(query);
        if let Some(title) = &query.title {
            let title = filter.bind(title.to_lowercase());
            filter.add(format!("instr(title, {title}) > 0"));
        }
        filter
    }

    pub(super) fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    pub(super) fn add(&mut self, condition: impl AsRef<str>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition.as_ref());
    }

    fn add_value(&mut self, comparison: &str, value: impl Into<Value>) {
        let value = self.bind(value);
        self.add(format!("{comparison}{value}"));
    }

    fn add_any(&mut self, column: &str, values: impl ExactSizeIterator<Item = &'static str>) {
        if values.len() > 0 {
            let values: Vec<String> = values.map(|value| self.bind(value.to_owned())).collect();
            self.add(format!("{column} IN ({})", values.join(", ")));
        }
    }

    fn add_workspaces(&mut self, query: &ListQuery) {
        let is = |filter: &mut Self, workspace: &Option<_>| match workspace {
            Some(workspace) => {
                let workspace: &crate::id::WorkspaceId = workspace;
                let workspace = filter.bind(workspace.as_str().to_owned());
                format!("workspace = {workspace}")
            }
            None => "workspace IS NULL".to_owned(),
        };
        let any: Vec<String> = query.workspaces.iter().map(|one| is(self, one)).collect();
        match &*any {
            [] => {}
            [one] => self.add(one),
            several => self.add(format!("({})", several.join(" OR "))),
        }
    }

    /// Stored times are negative and in whole milliseconds.
    fn add_times(&mut self, query: &ListQuery) {
        let times = [
            ("created <= ", query.created_from),
            ("created > ", query.created_before),
            ("active <= ", query.active_from),
            ("active > ", query.active_before),
        ];
        for (comparison, time) in times {
            if let Some(time) = time {
                self.add_value(comparison, -up(time));
            }
        }
    }
}
