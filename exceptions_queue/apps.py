from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ExceptionsQueueConfig(AppConfig):
    name = "exceptions_queue"
    verbose_name = "Exceptions"

    def ready(self) -> None:
        from exceptions_queue import checks, receivers, roles  # noqa: F401  (registers and connects them)

        post_migrate.connect(roles.establish, sender=self)
