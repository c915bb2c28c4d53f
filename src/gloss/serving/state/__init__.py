"""What a service must not forget: events, and changes of its catalogue, in a database.

    tables       the tables
    store        opens the database, and brings it to the newest version of the tables
    migrations/  the versions (Alembic)
    events       purchases as they happen: each counted once
    exposures    which user was shown which list of which recommender
    news         events and items as files for `gloss update`
    items        what was added, changed, hidden and removed since the recommender was made

SQLite is the embedded default; any URL of SQLAlchemy's for PostgreSQL will do. What a call has
answered is on disk: SQLite runs with `synchronous=FULL`, PostgreSQL as it comes.
"""
