from django.urls import path

from integrations.webhooks.views import receive

urlpatterns = [path("<slug:connection>/", receive, name="webhook")]
