from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    name = "integrations"
    verbose_name = "Connected systems"

    def ready(self) -> None:
        from contextlib import suppress

        from integrations import checks  # noqa: F401  (registers both)
        from integrations.connectors import registry

        with suppress(registry.MappingError):  # the start-up check says what is wrong
            registry.load_mappings()
