from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    name = "integrations"
    verbose_name = "Connected systems"

    def ready(self) -> None:
        from integrations import checks, providers  # noqa: F401  (registers both)
