from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    name = "integrations"
    verbose_name = "Connected systems"

    def ready(self) -> None:
        from contextlib import suppress

        from integrations import checks, providers  # noqa: F401  (registers both)

        with suppress(providers.MappingError):  # the start-up check says what is wrong
            providers.load_mappings()
