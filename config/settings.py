"""Read all settings from the environment; an unusable value stops the start with the setting's name (docs: README)."""

import os
from pathlib import Path

from config.env import Environment

VERSION = "0.1.0"
BASE_DIR = Path(__file__).resolve().parent.parent

env = Environment(os.environ)

DEBUG = env.flag("DEBUG", False)
HTTPS = env.flag("HTTPS", False)
SECRET_KEY = env.text("SECRET_KEY", "debug-only-not-a-secret" if DEBUG else "")
ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.origins("CSRF_TRUSTED_ORIGINS", wildcards=True)
CORS_ALLOWED_ORIGINS = env.origins("CORS_ALLOWED_ORIGINS")
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
ROBOT_AUTH = env.text("ROBOT_AUTH", "open" if DEBUG else "key", choices=("key", "open"))
ROBOT_AUTH_OPEN_ANYWHERE = env.flag("ROBOT_AUTH_OPEN_ANYWHERE", False)
TOKEN_AGE_DAYS = env.number("TOKEN_AGE_DAYS", 90, most=36_500)
REDIS_URL = env.redis("REDIS_URL")

INGEST_FLUSH_INTERVAL_MS = env.number("INGEST_FLUSH_INTERVAL_MS", 20, least=1, most=1000)
INGEST_MAX_PENDING_BYTES = env.number("INGEST_MAX_PENDING_BYTES", 64 * 2**20, least=2**20, most=2**36)
INGEST_WRITER = env.text("INGEST_WRITER", "auto", choices=("auto", "bulk_create"))
WEBSOCKET_DEFLATE = env.flag("WEBSOCKET_DEFLATE", False)

CONNECTIONS_PER_WORKER = env.number("CONNECTIONS_PER_WORKER", 2000)
CONNECTIONS_PER_ADDRESS = env.number("CONNECTIONS_PER_ADDRESS", 1000)
CONNECTIONS_PER_ROBOT = env.number("CONNECTIONS_PER_ROBOT", 20)
WATCHERS_PER_WORKER = env.number("WATCHERS_PER_WORKER", 200)
WATCHERS_PER_PERSON = env.number("WATCHERS_PER_PERSON", 20)
HANDSHAKES_PER_ROBOT = env.number("HANDSHAKES_PER_ROBOT", 60)
NEW_SESSIONS_PER_ROBOT = env.number("NEW_SESSIONS_PER_ROBOT", 30)
REFUSALS_PER_ADDRESS = env.number("REFUSALS_PER_ADDRESS", 300)
NEW_ROBOTS_PER_ADDRESS = env.number("NEW_ROBOTS_PER_ADDRESS", 300)
HTTP_CONNECTIONS_PER_ADDRESS = env.number("HTTP_CONNECTIONS_PER_ADDRESS", 256)
HTTP_REQUESTS_PER_ADDRESS = env.number("HTTP_REQUESTS_PER_ADDRESS", 100)
WAITS_PER_USER = env.number("WAITS_PER_USER", 50)
WAITS_PER_WORKER = env.number("WAITS_PER_WORKER", 200)
DOWNLOADS_PER_USER = env.number("DOWNLOADS_PER_USER", 4)
DOWNLOADS_PER_WORKER = env.number("DOWNLOADS_PER_WORKER", 8)

MEDIA_ROOT = env.path("MEDIA_ROOT", BASE_DIR / "media", BASE_DIR)
VIDEO_MAX_BYTES = env.number("VIDEO_MAX_BYTES", 2 * 2**30, least=2**10, most=2**40)
DISK_RESERVE_BYTES = env.number("DISK_RESERVE_BYTES", None, most=2**60)
DATABASE_DISK_BYTES = env.number("DATABASE_DISK_BYTES", 0, most=2**60)
EXPORT_DAYS = env.number("EXPORT_DAYS", 30, most=36_500)
TRASH_DAYS = env.number("TRASH_DAYS", 7, most=36_500)
BACKGROUND_WORK = env.text("BACKGROUND_WORK", "serve", choices=("serve", "separate"))
WEBHOOK_PRIVATE_NETWORKS = env.networks("WEBHOOK_PRIVATE_NETWORKS")
LOG_FORMAT = env.text("LOG_FORMAT", "text", choices=("text", "json"))
METRICS_TOKEN = env.secret("METRICS_TOKEN")
SILENCED_SYSTEM_CHECKS = env.check_ids("SILENCED_SYSTEM_CHECKS")
DATABASE = env.database("DATABASE_URL", "sqlite:///db.sqlite3", BASE_DIR)

if not SECRET_KEY:
    env.problems.append("SECRET_KEY is empty; a long random string expected (or DEBUG=1 on your own machine)")
env.check()

INSTALLED_APPS = [
    "robots",
    "teleop",
    "videos",
    "datasets",
    "loadtest",
    "channels",
    "corsheaders",
    "csp",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
    "rest_framework.authtoken",
    "robots.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "robots.middleware.scheme_and_cache_control",
    "robots.middleware.CompressJSON",
    "django.middleware.security.SecurityMiddleware",
    "config.static_files.StaticFilesMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "robots.middleware.PagePolicy",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# psycopg reads timestamps in this style only, and a database or a role may have another one. libpq sends the style
# while it connects, which costs no round trip and which PgBouncer allows.
os.environ["PGDATESTYLE"] = "ISO"
if DATABASE["ENGINE"] == "config.postgresql":
    DATABASE["CONN_HEALTH_CHECKS"] = True  # otherwise each fails one request after PostgreSQL's restart
    DATABASE["DISABLE_SERVER_SIDE_CURSORS"] = True  # they fail behind PgBouncer in transaction mode
    DATABASE["OPTIONS"] = {
        # A database host that lost its power sends nothing; without these options a worker would wait for hours.
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        **DATABASE["OPTIONS"],
        # Under ASGI every request has its own thread, so without a pool each request would have its own connection.
        "pool": {"min_size": 1, "max_size": 4, "timeout": 3},
    }
else:
    DATABASE["OPTIONS"] = {
        # Readers never block the writer (WAL), and a commit survives a power cut (FULL).
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
        # A transaction takes the write lock when it begins, so it waits instead of failing half-way.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    }
DATABASES = {"default": DATABASE}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if REDIS_URL:
    CACHES = {"default": {"BACKEND": "robots.redis_cache.RedisOrLocalCache", "LOCATION": REDIS_URL}}
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_connect_timeout": 2}]},
        }
    }
else:
    # Keep 100,000 throttle counters. When the cache is full, old counters are evicted and start from zero.
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "OPTIONS": {"MAX_ENTRIES": 100_000},
        }
    }
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            "CONFIG": {"group_expiry": 10**9},  # by default, members of a group expire after a day
        }
    }

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "robots.api.authentication.RobotKeyAuthentication",
        "robots.api.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["robots.api.permissions.Permissions"],
    "DEFAULT_THROTTLE_CLASSES": ["robots.api.throttling.AnonymousThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["robots.api.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "robots.api.renderers.Negotiation",
    "DEFAULT_PARSER_CLASSES": ["robots.api.parsers.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "robots.api.pagination.Pages",
    "DEFAULT_FILTER_BACKENDS": ["robots.api.filters.StrictFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "robots.api.schema.Schema",
    "EXCEPTION_HANDLER": "robots.api.exceptions.handle",
    "URL_FORMAT_OVERRIDE": None,  # `?format=` is an ordinary parameter: DRF would answer 404 to an unknown format
}
SPECTACULAR_SETTINGS = {
    "TITLE": "LeRobot Backend",
    "DESCRIPTION": "REST API of robots, their sessions, frames and videos. docs/api.md explains its use.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "PREPROCESSING_HOOKS": ["robots.api.schema.without_trailing_slash"],
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "robots.api.schema.with_components"],
    "ENUM_NAME_OVERRIDES": {"MarkKindEnum": "teleop.models.TRIMS"},  # events have a `kind` too
    "SERVE_PUBLIC": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

AUTHENTICATION_BACKENDS = ["robots.api.authentication.LoginBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# Forbid inline code and content of other origins, in the admin too; `/docs` has an exception of its own.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
    }
}

STATIC_URL = "static/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "config.static_files.VersionedStorage"},
}
WHITENOISE_USE_FINDERS = True  # `serve` sends the apps' own files, so collectstatic is not needed
MEDIA_URL = "media/"
FILE_UPLOAD_HANDLERS = ["videos.uploads.UploadHandler"]  # Django's default keeps up to 2.5 MB in memory

LANGUAGE_CODE = "en-us"
USE_I18N = False  # English only: no catalogs to read at the start
NUMBER_GROUPING = 3  # as in Django's English formats, which are a part of I18N
TIME_ZONE = "UTC"
USE_TZ = True

if HTTPS:
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
    SECURE_REDIRECT_EXEMPT = [r"^health"]  # load balancers send health checks from inside, without TLS

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {
            "()": "teleop.monitoring.logs.TextFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        },
        "json": {
            "()": "teleop.monitoring.logs.JSONFormatter",
            "format": "%(levelname)s %(name)s %(message)s",
            "timestamp": True,
        },
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": ["refused_request", "request_id"],
        }
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "filters": {
        "rate": {"()": "teleop.monitoring.logs.RateLimit", "most": 10, "seconds": 10},
        "refused_request": {"()": "teleop.monitoring.logs.RefusedRequest"},
        "request_id": {"()": "teleop.monitoring.logs.RequestId"},
    },
    "loggers": {
        "daphne": {"level": "WARNING"},
        # Any client can cause any number of refusals.
        "teleop.asgi.refusals": {"filters": ["rate"]},
        "teleop.server.http_channel": {"filters": ["rate"]},
    },
}
