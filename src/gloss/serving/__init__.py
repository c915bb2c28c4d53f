"""Recommendations over HTTP (extra "serve").

served           what the service asks of a recommender, and the recommender of a bundle as that
messages         what a service and the process of its model tell each other
model_process    a bundle in a process of its own, as that
model_process_main   that process
arms             two recommenders as one, and which of them a user is given
experiments      what is logged of them
conversions      what people bought after which list
waiting          requests that wait for the model: bounded, with deadlines
model_thread     the one thread that owns the model, and who starts it again
catalogue_view   the catalogue as people page through it
live             the recommender that is served now: reloaded, and with the catalogue's changes
state/           events and catalogue changes in a database
security         keys and their scopes
batch_time       how long a batch takes, learned from those before it
crowd            whether one more request for a list would be refused
protocol         HTTP that refuses such requests unread
walls            id, key, host, size, time and type of a request; headers of its answer
problems         errors as RFC 9457 documents
texts            texts that a request may hold
service          what routes work with
metrics          counters for Prometheus, and the last hour
hours            what was recommended hour by hour, for a day
routes/          one file for each part of the API, and for the page
client/          a client in Python, sync and async (extra "client")
mcp_tools        the recommender as tools for assistants (extra "mcp")
web/             the page: HTML, CSS and JavaScript as browsers read them
app              all of it put together
server           the process: signals
"""
