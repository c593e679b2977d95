//! Looking people up by name, for others: closed accounts, those that nobody has vouched for yet, and whoever is apart from
//! the asker by a block of either side are not there.

use sqlx::PgExecutor;
use uuid::Uuid;

use super::accounts::Summary;
use crate::error::Error;
use crate::id::AccountId;

/// People other than `asker` whose name begins with `prefix`, in any case, in the order of their names.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn beginning_with(
    executor: impl PgExecutor<'_>,
    asker: AccountId,
    prefix: &str,
    most: i64,
) -> Result<Vec<Summary>, Error> {
    let rows = sqlx::query(
        "select a.id, a.username, a.full_name, a.avatar
         from hubbub.account a
         where lower(a.username) like lower($2) || '%' and a.is_active and a.issuer <> '' and a.id <> $1
           and not exists (
               select from hubbub.member mine
               join hubbub.member theirs on theirs.room = mine.room and theirs.account = a.id
               where mine.account = $1 and (mine.blocks or theirs.blocks)
           )
         order by lower(a.username), a.id
         limit $3",
    )
    .bind(asker.0)
    .bind(literal(prefix))
    .bind(most)
    .fetch_all(executor)
    .await?;
    Ok(rows.iter().map(Summary::from_row).collect::<Result<_, _>>()?)
}

/// The people of that name, in any case, the asker too: two at most, which is one too many to tell who is meant.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn named(
    executor: impl PgExecutor<'_>,
    asker: AccountId,
    name: &str,
) -> Result<Vec<AccountId>, Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select a.id from hubbub.account a
         where lower(a.username) = lower($2) and a.is_active and a.issuer <> ''
           and not exists (
               select from hubbub.member mine
               join hubbub.member theirs on theirs.room = mine.room and theirs.account = a.id
               where mine.account = $1 and a.id <> $1 and (mine.blocks or theirs.blocks)
           )
         limit 2",
    )
    .bind(asker.0)
    .bind(name)
    .fetch_all(executor)
    .await?;
    Ok(ids.into_iter().map(AccountId).collect())
}

/// A text that stands for itself in a pattern.
fn literal(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s43_a_name_is_no_pattern() {
        assert_eq!(literal(r"50%_\ana"), r"50\%\_\\ana");
        assert_eq!(literal("ana"), "ana");
    }
}
