from django.urls import path

from teleop import views

urlpatterns = [
    path("health", views.health),
]
