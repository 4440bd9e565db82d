"""Settings, all from the environment (docs/operating.md).

With nothing configured: SQLite and a filesystem broker inside ``DATA_DIR``. With ``DATABASE_URL`` and ``REDIS_URL`` the same
code runs on PostgreSQL and Redis, and start-up refuses to go on without the keys that a deployment must bring.
"""

from pathlib import Path
from typing import Any

from csp.constants import NONCE, NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy
from environs import Env, validate

from config import embedded
from config.filesystem_broker import transport_options
from config.startup import checked_scheme

env = Env()
BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.str("DATA_DIR", str(BASE_DIR / "var"))).resolve()
CONFIG_DIR = Path(path).resolve() if (path := env.str("CONFIG_DIR", "")) else None
PORT = env.int("PORT", 8000)
DEBUG = env.bool("DEBUG", False)
EMBEDDED = not env.str("DATABASE_URL", "")

if EMBEDDED:
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    SECRET_KEY = env.str("SECRET_KEY", "") or embedded.secret_key(DATA_DIR)
    FIELD_ENCRYPTION_KEYS = env.list("FIELD_ENCRYPTION_KEYS", []) or embedded.field_encryption_keys(DATA_DIR)
    ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
elif DEBUG:
    SECRET_KEY = env.str("SECRET_KEY", "") or embedded.secret_key(DATA_DIR)
    FIELD_ENCRYPTION_KEYS = env.list("FIELD_ENCRYPTION_KEYS", []) or embedded.field_encryption_keys(DATA_DIR)
    ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["*"])
else:
    missing = [name for name in ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "ALLOWED_HOSTS") if not env.str(name, "")]
    if missing:
        raise ImproperlyConfigured(
            f"DATABASE_URL is set, so {', '.join(missing)} must be set too (or DEBUG=1 for development)."
        )
    SECRET_KEY = env.str("SECRET_KEY")
    FIELD_ENCRYPTION_KEYS = env.list("FIELD_ENCRYPTION_KEYS")
    ALLOWED_HOSTS = env.list("ALLOWED_HOSTS")

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_fsm",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "csp",
    "integrations",
    "onboarding",
    "exceptions_queue",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "onboarding.middleware.request_id.RequestIdMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "exceptions_queue.admin.ui.middleware.ConsoleMiddleware",
    "axes.middleware.AxesMiddleware",
    "onboarding.middleware.database_unavailable.DatabaseUnavailableMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # A company may put its own onboarding/welcome.txt into CONFIG_DIR/templates.
        "DIRS": [*([CONFIG_DIR / "templates"] if CONFIG_DIR else []), BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "exceptions_queue.admin.home.navigation.demo_logins",
            ]
        },
    }
]

# --- Database -----------------------------------------------------------------------------------------------------------

DB_BUSY_SECONDS = env.int("DB_BUSY_SECONDS", 20)
LEAN_TRANSITIONS = env.bool("LEAN_TRANSITIONS", True)
"""On PostgreSQL a run's rows are kept in memory from step to step, and a transition is one statement. Off: always
under a lock.
"""
DATABASE_POOLER = env.bool("DATABASE_POOLER", False)
"""``DATABASE_URL`` leads to a pooler that may give each transaction another session of PostgreSQL (PgBouncer's
``pool_mode = transaction``): nothing is asked for that lives in a session, such as a cursor beyond its transaction.
"""
PREPARED_STATEMENTS = env.bool("PREPARED_STATEMENTS", not DATABASE_POOLER)
"""PostgreSQL plans each statement of the hot path (``integrations.database.statements``,
``integrations.database.compiled_queries``) once a session, and for whatever values come.
All others are planned with their values, as partial indexes want it. Behind a pooler only where it knows of prepared statements
(PgBouncer since 1.21, with ``max_prepared_statements``).
"""


def _database() -> dict[str, Any]:
    if EMBEDDED:
        return {
            "ENGINE": "config.sqlite",
            "NAME": DATA_DIR / "db.sqlite3",
            "OPTIONS": {
                # DEFERRED + WAL fails a read-then-write at once, whatever the timeout.
                "transaction_mode": "IMMEDIATE",
                "timeout": DB_BUSY_SECONDS,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16000;",
            },
            "CONN_MAX_AGE": None,
            "TEST": {"NAME": DATA_DIR / "test.sqlite3"},
        }
    database: dict[str, Any] = dict(env.dj_db_url("DATABASE_URL"))
    database["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", 600)
    database["CONN_HEALTH_CHECKS"] = True
    if database["ENGINE"].endswith("postgresql"):
        options = database.setdefault("OPTIONS", {})
        options.setdefault("connect_timeout", 5)
        if DATABASE_POOLER:
            # It refuses parameters of a session; ALTER ROLE … SET has the same effect (docs/operating.md).
            database["DISABLE_SERVER_SIDE_CURSORS"] = True
        else:
            timeouts = f"-c lock_timeout={DB_BUSY_SECONDS}s -c idle_in_transaction_session_timeout=60s"
            options.setdefault("options", timeouts)
        if PREPARED_STATEMENTS:
            # Only who asks for it has a statement prepared: Django's cursors write the values into it.
            options["prepare_threshold"] = 5
    return database


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Broker: a message only says what to look at, truth is in the database
# ----------------------------------------------------------------

REDIS_URL = checked_scheme("REDIS_URL", env.str("REDIS_URL", ""), ("redis", "rediss", "redis+socket"))
WORKER_CONCURRENCY = env.int("WORKER_CONCURRENCY", 16)
SWEEP_SECONDS = env.float("SWEEP_SECONDS", 2.0)
BROKER_PUBLISH = env.bool("BROKER_PUBLISH", True)
"""Off: nothing is published and the scheduler does all the work itself (tests, and life without a broker)."""

CELERY_BROKER_URL = REDIS_URL or "filesystem://localhost//"
if REDIS_URL:
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {
        "socket_timeout": 5.0,
        "socket_connect_timeout": 1.0,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "visibility_timeout": 600,
    }
else:
    CELERY_BROKER_TRANSPORT = "config.filesystem_broker:Transport"
    CELERY_BROKER_TRANSPORT_OPTIONS = transport_options(DATA_DIR)
CELERY_BROKER_CONNECTION_TIMEOUT = 1.0
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False  # acknowledged early: the row decides, not the message
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_DEFAULT_QUEUE = "firstvalue"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_TIMEZONE = "UTC"
# Worker threads keep their database connections; close_old_connections() stands before each outermost atomic block.
CELERY_DB_REUSE_MAX = 1_000_000

# --- Engine's times, in seconds --------------------------------------------------------------------------------------------

STEP_SECONDS = env.float("STEP_SECONDS", 25.0)
"""Total time that one claimed step may spend on vendor calls."""
CALL_SECONDS = env.float("CALL_SECONDS", 10.0)
"""Total deadline of one vendor call; the connect timeout is at most half of it."""
LEASE_MARGIN_SECONDS = env.float("LEASE_MARGIN_SECONDS", 10.0)
LEASE_SECONDS = STEP_SECONDS + DB_BUSY_SECONDS + LEASE_MARGIN_SECONDS
HOLD_SECONDS = env.float("HOLD_SECONDS", 60.0)
"""How long a bare payment intent waits for its checkout session or invoice."""
RETRY_BASE_SECONDS = env.float("RETRY_BASE_SECONDS", 2.0)
READY_LAG_SECONDS = env.float("READY_LAG_SECONDS", 60.0)
"""Work that has been due for longer while nothing is begun makes ``/readyz`` fail."""
DEMO_LOGINS = env.json("DEMO_LOGINS", [])
"""What the login page offers to click, of ``make demo`` alone: [{name, does, password}]."""
AUDIT_ANCHOR_SECONDS = env.float("AUDIT_ANCHOR_SECONDS", 300.0)
"""How often the ends of the audit trail's chains are anchored: what is rewritten before that leaves no contradiction."""
ARCHIVE_DIR = Path(env.str("ARCHIVE_DIR", str(DATA_DIR / "archive"))).resolve()
"""Where ``manage.py archive`` keeps its files. Part of the truth, like the database: it belongs into the same backup."""
ARCHIVE_AFTER_DAYS = env.int("ARCHIVE_AFTER_DAYS", 90, validate=validate.Range(min=1))
"""A run may be archived once the month in which it ended is over for so long."""
CALL_RETENTION_DAYS = env.int("CALL_RETENTION_DAYS", 0, validate=validate.Range(min=0))
"""Records of calls are deleted after so many days, archived ones too; 0: they are kept."""
KICKOFF_POLL_SECONDS = env.float("KICKOFF_POLL_SECONDS", 300.0)
"""How often a kickoff task is looked at in the delivery system, where no event says that the kickoff is scheduled."""

# --- People ------------------------------------------------------------------------------------------------------------

TIME_ZONE = "UTC"
USE_TZ = True
LANGUAGE_CODE = "en-us"
USE_I18N = False
PUBLIC_URL = env.str("PUBLIC_URL", f"http://127.0.0.1:{PORT}").rstrip("/")
"""Where people reach the console: used in mails and REST links."""

SANDBOX_URL = env.str("SANDBOX_URL", "").rstrip("/")
"""Where the vendors' stand-ins answer; set by ``make demo`` and ``config.run --sandbox``. Empty: there is no sandbox page."""
SANDBOX_ORIGINS = env.list("SANDBOX_ORIGINS", [SANDBOX_URL or f"http://127.0.0.1:{PORT + 1}"])
"""What a sandbox connection may reach on this machine: the sandbox alone. ``*`` stands for any text."""

DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "firstvalue@localhost")
SERVER_EMAIL = DEFAULT_FROM_EMAIL
_MAIL_SCHEMES = ("smtp", "submission", "submit", "smtps", "file", "console", "memory", "dummy")
if email_url := checked_scheme("EMAIL_URL", env.str("EMAIL_URL", ""), _MAIL_SCHEMES):
    vars().update(env.dj_email_url("EMAIL_URL", email_url))
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = DATA_DIR / "mail"
EMAIL_TIMEOUT = 10

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "config.client_address.client_address"
AXES_LOCKOUT_TEMPLATE = "locked_out.html"
AXES_VERBOSE = False
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")

# --- Web ------------------------------------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "templates" / "static"]
# Files come straight from the installed packages: no collectstatic step, and nothing is fetched from elsewhere.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
MAX_BODY_BYTES = 1024 * 1024
REQUEST_SECONDS = env.float("REQUEST_SECONDS", 20.0)
"""How long a request, head and body, may take to arrive; then it is answered with 408 (``config.buffered_worker``)."""

HTTPS = env.bool("HTTPS", not (EMBEDDED or DEBUG))
"""Whether people and senders reach us over TLS (a proxy ends it and sets X-Forwarded-Proto)."""
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
PROXY_COUNT = env.int("PROXY_COUNT", 1 if HTTPS else 0)
"""How many proxies of ours append to X-Forwarded-For, which says whom a login is counted against."""
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# Copies on one host (other PORT, other DATA_DIR) must not sign each other out.
SESSION_COOKIE_NAME = f"firstvalue_session_{PORT}"
CSRF_COOKIE_NAME = f"firstvalue_csrf_{PORT}"
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", [PUBLIC_URL] if HTTPS else [])
CSRF_FAILURE_VIEW = "exceptions_queue.admin.ui.middleware.csrf_failure"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE, UNSAFE_EVAL],  # unsafe-eval: django-unfold's Alpine.js
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["onboarding.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["onboarding.api.authentication.HasScope"],
    "DEFAULT_PARSER_CLASSES": ["onboarding.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "onboarding.api.pagination.Pages",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["onboarding.api.throttling.PerKeyThrottle"],
    "DEFAULT_THROTTLE_RATES": {"key": env.str("API_THROTTLE", "1200/min")},
    "EXCEPTION_HANDLER": "onboarding.api.problems.problem_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Firstvalue",
    "DESCRIPTION": "From paid to first value; nothing stalls silently.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {  # several fields are called status or state
        "RunStatus": "onboarding.enums.Status",
        "StepState": "onboarding.enums.StepState",
        "TicketStatus": "exceptions_queue.models.TicketStatus",
        "ChangeRequestStatus": "onboarding.enums.ChangeStatus",
        "SlaState": "exceptions_queue.sla.state.SlaState",
    },
}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}

UNFOLD = {
    "SITE_TITLE": "Firstvalue",
    "SITE_HEADER": "Firstvalue",
    "SITE_SUBHEADER": "from paid to first value",
    "SITE_SYMBOL": "flag",
    "SITE_URL": None,
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "DASHBOARD_CALLBACK": "exceptions_queue.admin.home.dashboard.callback",
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": "exceptions_queue.admin.sidebar"},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"context": {"()": "onboarding.log_context.ContextFilter"}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s%(context)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["context"]}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "axes": {"level": "WARNING"},
        "celery": {"level": env.str("CELERY_LOG_LEVEL", "INFO")},
        "integrations.http.recording": {"level": "DEBUG" if env.bool("LOG_CALLS", False) else "INFO"},
    },
}
