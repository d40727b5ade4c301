from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("robots.urls")),
    path("", include("teleop.urls")),
    path("", include("videos.urls")),
]
handler400 = "robots.exceptions.bad_request"
handler404 = "robots.exceptions.not_found"
handler500 = "robots.exceptions.server_error"
