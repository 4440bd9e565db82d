from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ExceptionsQueueConfig(AppConfig):
    name = "exceptions_queue"
    verbose_name = "Exceptions"

    def ready(self) -> None:
        from exceptions_queue import checks, permissions, receivers  # noqa: F401  (registers and connects them)

        post_migrate.connect(permissions.establish, sender=self)
