//! Statistics by looking at every turn's facts.

use async_trait::async_trait;

use super::MemoryStorage;
use crate::error::Result;
use crate::id::OwnerId;
use crate::model::ResponseState;
use crate::storage::{Statistics, StatisticsQuery, Totals, TurnFacts};

#[async_trait]
impl Statistics for MemoryStorage {
    async fn totals(&self, owner: &OwnerId, query: &StatisticsQuery) -> Result<Totals> {
        let state = self.state();
        let mut totals = Totals::default();
        for (_, session) in state.sessions_of(owner) {
            let before = totals.turns;
            session.facts.values().filter(|facts| fits(facts, query)).for_each(|facts| {
                add(&mut totals, facts);
            });
            totals.sessions += u64::from(totals.turns > before);
        }
        Ok(totals)
    }
}

fn fits(facts: &TurnFacts, query: &StatisticsQuery) -> bool {
    query.from.is_none_or(|from| facts.at >= from)
        && query.before.is_none_or(|before| facts.at < before)
}

fn add(totals: &mut Totals, facts: &TurnFacts) {
    totals.turns += 1;
    totals.failed += u64::from(facts.state == ResponseState::Failed);
    totals.input_tokens += facts.input_tokens;
    totals.output_tokens += facts.output_tokens;
}
