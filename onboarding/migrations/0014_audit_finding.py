import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('onboarding', '0013_archive'),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditFinding',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('text', models.CharField(max_length=1000)),
                ('digest', models.CharField(max_length=64, unique=True)),
                ('found_at', models.DateTimeField()),
                ('transaction', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='audit_findings', to='onboarding.onboardingtransaction')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
    ]
