from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("robots.urls")),
    path("", include("teleop.urls")),
    path("", include("videos.urls")),
    path("", include("datasets.urls")),
]
handler400 = "robots.api.exceptions.bad_request"
handler404 = "robots.api.exceptions.not_found"
handler500 = "robots.api.exceptions.server_error"
