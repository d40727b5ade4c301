from django.contrib import admin
from django.urls import include, path

admin.site.site_header = admin.site.site_title = "Teleop backend"
admin.site.enable_nav_sidebar = False  # the header has the pages, and wide tables have the room

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("robots.urls")),
    path("", include("teleop.urls")),
    path("", include("videos.urls")),
]
handler400 = "robots.exceptions.bad_request"
handler404 = "robots.exceptions.not_found"
handler500 = "robots.exceptions.server_error"
