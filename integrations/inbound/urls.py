from django.urls import path

from integrations.inbound.views import receive

urlpatterns = [path("<slug:connection>/", receive, name="webhook")]
