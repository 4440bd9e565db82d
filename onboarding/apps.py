from django.apps import AppConfig


class OnboardingConfig(AppConfig):
    name = "onboarding"
    verbose_name = "Onboarding"

    def ready(self) -> None:
        from contextlib import suppress

        from integrations.connectors.registry import MappingError
        from onboarding import checks, receivers, steps  # noqa: F401  (registers them)

        with suppress(MappingError):  # the start-up check says what is wrong
            steps.declarative.load()
